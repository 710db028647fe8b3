import { hostRunner, type NftCommand, nftCommand } from '@slipway/hostapi';

/** A node in a network namespace of its own with two pods, and a client outside. Every pod answers TCP connections on 8080 and 9090. */
export interface PacketWorld {
  readonly host: string;
  readonly pod2: string;
  readonly pod3: string;
  readonly outside: string;
  readonly nft: NftCommand;
  /** What the one who answers says: its name and the client's address. Else the error's code. */
  ask(from: string, address: string, port: number): Promise<string>;
  /** The same when nothing is expected: `silence` after a moment. */
  askInVain(from: string, address: string, port: number): Promise<string>;
  close(): Promise<void>;
}

const signal = new AbortController().signal;
const sh = async (script: string): Promise<string> => (await hostRunner.run(['sh', '-c', script], {}, signal)).stdout;

const layout = (PREFIX: string, host: string): string => `
ip netns add ${host}
ip -n ${host} link set lo up
ip -n ${host} link add gw0 type bridge
ip -n ${host} addr add 10.244.7.1/24 dev gw0
ip -n ${host} addr add fd10:244:7::1/64 dev gw0 nodad
ip -n ${host} link set gw0 up
for pod in 2 3; do
  ip netns add ${PREFIX}-pod$pod
  ip -n ${host} link add v$pod type veth peer name eth0 netns ${PREFIX}-pod$pod
  ip -n ${host} addr add fe80::1:1/64 dev v$pod nodad
  ip -n ${host} link set v$pod up
  ip -n ${PREFIX}-pod$pod link set lo up
  ip -n ${PREFIX}-pod$pod link set eth0 up
  ip -n ${PREFIX}-pod$pod addr add 10.244.7.$pod/32 dev eth0
  ip -n ${PREFIX}-pod$pod addr add fd10:244:7::$pod/128 dev eth0 nodad
  ip -n ${PREFIX}-pod$pod route add 10.244.7.1 dev eth0
  ip -n ${PREFIX}-pod$pod route add default via 10.244.7.1
  ip -n ${PREFIX}-pod$pod route add ::/0 via fe80::1:1 dev eth0
  ip -n ${host} route add 10.244.7.$pod/32 dev v$pod src 10.244.7.1
  ip -n ${host} route add fd10:244:7::$pod/128 dev v$pod src fd10:244:7::1
done
ip netns add ${PREFIX}-outside
ip -n ${host} link add up0 type veth peer name eth0 netns ${PREFIX}-outside
ip -n ${host} link set up0 up
ip -n ${host} addr add 192.0.2.1/24 dev up0
ip -n ${host} addr add 2001:db8::1/64 dev up0 nodad
ip -n ${host} route add default via 192.0.2.9
ip -n ${PREFIX}-outside link set eth0 up
ip -n ${PREFIX}-outside link set lo up
ip -n ${PREFIX}-outside addr add 192.0.2.9/24 dev eth0
ip -n ${PREFIX}-outside addr add 2001:db8::9/64 dev eth0 nodad
ip -n ${PREFIX}-outside route add default via 192.0.2.1
ip -n ${PREFIX}-outside route add ::/0 via 2001:db8::1
ip netns exec ${host} sh -c 'cd /proc/sys/net; echo 1 > ipv4/ip_forward; echo 1 > ipv6/conf/all/forwarding
  echo 1 > ipv4/conf/v2/route_localnet; echo 1 > ipv4/conf/v3/route_localnet'
`;

/** Answers every connection with the name of the pod and the address of the client. */
const SERVER = `require("net").createServer((s) => { s.on("error", () => {}); s.end(process.argv[1] + " " + s.remoteAddress.replace("::ffff:", "")); }).listen(Number(process.argv[2]), "::")`;
const ASK = `const s = require("net").connect(Number(process.argv[2]), process.argv[1]); let t = "";
s.setTimeout(Number(process.argv[3]), () => { console.log("silence"); process.exit(); });
s.on("data", (d) => (t += d)); s.on("end", () => { console.log(t); process.exit(); }); s.on("error", (e) => { console.log(e.code); process.exit(); });`;

async function connect(from: string | undefined, args: readonly (string | number)[]): Promise<string> {
  const enter = from === undefined ? [] : ['ip', 'netns', 'exec', from];
  const [program = '', ...rest] = [...enter, process.execPath, '-e', ASK, ...args.map(String)];
  const { stdout } = await hostRunner.run([program, ...rest], {}, signal);
  return stdout.trim();
}

/** Asks from a namespace, or from this machine; on a machine with much to do an answer may take its time. */
export const ask = (from: string | undefined, address: string, port: number): Promise<string> =>
  connect(from, [address, port, 30_000]);

/** The same when nothing is expected: `silence` after a moment. */
export const askInVain = (from: string | undefined, address: string, port: number): Promise<string> =>
  connect(from, [address, port, 1_500]);

/** From now on connections to this port in the namespace are answered with the name and the client's address. */
export async function answer(netns: string, name: string, port: number): Promise<void> {
  await sh(`ip netns exec ${netns} ${process.execPath} -e '${SERVER}' ${name} ${port} > /dev/null 2>&1 &
for i in $(seq 200); do ip netns exec ${netns} sh -c 'ss -ltn | grep -q :${port}' && exit 0; sleep 0.05; done; exit 1`);
}

/** Removes a namespace and ends what runs in it. */
export const removeNamespace = (name: string): Promise<string> =>
  sh(`for pid in $(ip netns pids ${name} 2>/dev/null); do kill -9 $pid; done; ip netns del ${name} 2>/dev/null || true`);

/** Makes it; `prefix` is unique to the test file and short. */
export async function packetWorld(prefix: string): Promise<PacketWorld> {
  const [host, pod2, pod3, outside] = ['host', 'pod2', 'pod3', 'outside'].map((name) => `${prefix}-${name}`) as [
    string,
    string,
    string,
    string,
  ];
  await sh(layout(prefix, host));
  for (const [pod, name] of [
    [pod2, 'pod2'],
    [pod3, 'pod3'],
  ] as const)
    for (const port of [8080, 9090]) await answer(pod, name, port);
  return {
    ...{ host, pod2, pod3, outside, nft: nftCommand(hostRunner, host) },
    ...{ ask, askInVain },
    async close() {
      for (const name of [pod2, pod3, outside, host]) await removeNamespace(name);
    },
  };
}
