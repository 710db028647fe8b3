import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Node, Pod, VirtualMachineInstance } from '@slipway/api';
import type { Client } from '@slipway/client';
import { type CommandRunner, hostRunner } from '@slipway/hostapi';
import { type Informer, type InformerEvent, silentLogger, systemClock } from '@slipway/runtime';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { MovingNetwork, PodNetwork, Sandbox } from '../contracts.ts';
import { createPodNetwork, NodePeers } from './index.ts';

const PREFIX = 'f0d3a';
const LAN = `${PREFIX}-lan`;
const patience = { timeout: 60_000, interval: 20 };
const { signal } = new AbortController();
const sh = async (script: string): Promise<string> => (await hostRunner.run(['sh', '-c', script], {}, signal)).stdout;

/** A node in a namespace of its own, with what agents of other nodes can see of it. */
interface TestNode {
  readonly number: number;
  readonly name: string;
  readonly netns: string;
  readonly stateDir: string;
  network: PodNetwork & MovingNetwork;
  stop: AbortController;
}

let known: Node[] = [];
const handlers: ((event: InformerEvent<Node>) => void)[] = [];
/** One API for all nodes; whoever writes is heard at once. */
const nodes = {
  lister: {
    list: () => known,
    get: ({ name }: { name: string }) => known.find(({ metadata }) => metadata.name === name),
  },
  whenSynced: async () => {},
  addHandler: (handler: (event: InformerEvent<Node>) => void) => handlers.push(handler),
} as unknown as Informer<Node>; // the parts that are used
const client = {
  patch: async (_kind: unknown, { name }: { name: string }, patch: { metadata: { annotations: Record<string, string> } }) => {
    known = known.map((node) =>
      node.metadata.name === name
        ? {
            ...node,
            metadata: { ...node.metadata, annotations: { ...node.metadata.annotations, ...patch.metadata.annotations } },
          }
        : node,
    );
    for (const handler of handlers) for (const object of known) handler({ type: 'added', object });
  },
} as unknown as Client; // the part that is used

const link = (number: number) => ({
  device: 'mwlan',
  addressV4: `10.197.70.1${number}`,
  addressV6: `fd97:70::1${number}`,
  networks: [],
  hidesPods: true,
});
const nodeObject = (number: number): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: `n${number}` },
  spec: { podCIDRs: [`10.197.7${number}.0/24`, `fd97:7${number}::/64`] },
  status: { conditions: [{ type: 'Ready', status: 'True' }] },
});
const runnerIn = (netns: string): CommandRunner => ({
  run: (argv, options, aborting) => hostRunner.run(['nsenter', `--net=/run/netns/${netns}`, ...argv], options, aborting),
});

/** What `up --nodes` makes: a bridge of the link, this machine on it with routes to all pods, and nodes. */
const lan = `ip netns add ${LAN}
ip -n ${LAN} link set lo up
ip -n ${LAN} link add lan type bridge stp_state 0 forward_delay 0 mcast_snooping 0
ip -n ${LAN} link set lan up
ip -n ${LAN} addr add 10.197.70.1/24 dev lan; ip -n ${LAN} addr add fd97:70::1/64 dev lan nodad
for n in 1 2; do ip -n ${LAN} route add 10.197.7$n.0/24 dev lan; ip -n ${LAN} route add fd97:7$n::/64 dev lan; done`;
/** Agents set these for themselves in their own namespace, which this process is not in. */
const nodeLink = (number: number, netns: string): string => `ip netns add ${netns}
ip -n ${netns} link set lo up
ip -n ${LAN} link add n${number} type veth peer name mwlan netns ${netns}
ip -n ${LAN} link set n${number} master lan up
ip -n ${netns} link set mwlan up
ip -n ${netns} addr add 10.197.70.1${number}/24 dev mwlan; ip -n ${netns} addr add fd97:70::1${number}/64 dev mwlan nodad
ip -n ${netns} route add default via 10.197.70.1; ip -n ${netns} route add ::/0 via fd97:70::1
ip netns exec ${netns} sh -c 'cd /proc/sys/net; echo 1 > ipv4/ip_forward; echo 1 > ipv6/conf/all/forwarding
  echo 1 > ipv4/conf/default/proxy_arp; echo 0 > ipv4/neigh/default/proxy_delay
  echo 1 > ipv6/conf/mwlan/proxy_ndp; echo 0 > ipv4/neigh/mwlan/proxy_delay; echo 0 > ipv6/neigh/mwlan/proxy_delay'`;

function create({ number, name, netns, stateDir }: Omit<TestNode, 'network' | 'stop'>): PodNetwork & MovingNetwork {
  const shared = { runner: runnerIn(netns), clock: systemClock, log: silentLogger };
  return createPodNetwork({
    ...shared,
    config: {
      ...{ nodeName: name, hostPrefix: `${PREFIX}${number}`, stateDir, uidBase: 64_000 },
      link: link(number),
      ...{ podCidrV4: `10.197.7${number}.0/24`, podCidrV6: `fd97:7${number}::/64` },
    },
    peers: new NodePeers({ ...shared, nodeName: name, link: link(number), client, nodes }),
    resolveNetwork: async () => undefined,
  });
}

const pod = (name: string): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'default', uid: `uid-${name}` },
});
const sandbox = (name: string): Sandbox => ({
  podUid: `uid-${name}`,
  uid: 64_123,
  netns: `${PREFIX}-${name}`,
  dir: '/nonexistent',
});
const vmi = (name: string, nodeName: string, binding: object): VirtualMachineInstance =>
  ({
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: { name, namespace: 'default', uid: `vmi-${name}` },
    spec: { networks: [{ name: 'default', pod: {} }], domain: { devices: { interfaces: [{ name: 'default', ...binding }] } } },
    status: { nodeName },
  }) as VirtualMachineInstance; // the rest does not matter to networks

/** Echoes lines until its input ends. */
const ECHO = `require("net").createServer((s) => { s.on("error", () => {}); s.pipe(s); }).listen(8080, "::", () => console.log("ready"))`;
/** Sends numbers over one connection for as long as they come back; says each one. */
const COUNT = `const s = require("net").connect(8080, process.argv[1]); let n = 0, rest = "";
s.on("connect", () => s.write("0\\n"));
s.on("data", (d) => { rest += d; for (let i; (i = rest.indexOf("\\n")) >= 0; rest = rest.slice(i + 1)) {
  if (rest.slice(0, i) !== String(n)) { console.log("wrong " + rest.slice(0, i)); process.exit(1); }
  console.log(Date.now() + " " + n); n += 1; setTimeout(() => s.write(n + "\\n"), 5); } });
s.on("close", () => { console.log("closed"); process.exit(1); }); s.on("error", (e) => console.log(e.code));`;

/** Sends numbers without being asked. */
const PUSH = `require("net").createServer((s) => { let n = 0; const t = setInterval(() => s.write(n++ + "\\n"), 5);
s.on("error", () => {}); s.on("close", () => clearInterval(t)); }).listen(9090, "::", () => console.log("ready"));`;
/** Says each number that it gets. */
const PULL = `const s = require("net").connect(9090, process.argv[1]); let n = 0, rest = "";
s.on("data", (d) => { rest += d; for (let i; (i = rest.indexOf("\\n")) >= 0; rest = rest.slice(i + 1)) {
  if (rest.slice(0, i) !== String(n)) { console.log("wrong " + rest.slice(0, i)); process.exit(1); }
  console.log(Date.now() + " " + n); n += 1; } });
s.on("close", () => { console.log("closed"); process.exit(1); }); s.on("error", (e) => console.log(e.code));`;

/** Ends its connections when it is told to. */
const ENDING = `const all = new Set(); process.on("SIGUSR2", () => { for (const s of all) s.end(); });
require("net").createServer((s) => { all.add(s); s.write("open\\n"); s.on("error", () => {}); }).listen(8080, "::", () => console.log("pid " + process.pid + "\\nready"));`;
const ENDED = `require("net").connect(8080, process.argv[1]).on("data", (d) => process.stdout.write(d)).on("end", () => console.log("ended")).on("error", (e) => console.log(e.code));`;

/** Says when each ping was answered. */
const PINGS = 'while :; do busybox ping -c 1 -W 1 $1 > /dev/null && date +%s%3N; sleep 0.02; done';

let outputs = 0;
/** A process in a namespace whose output is kept. */
function background(netns: string, argv: readonly string[]) {
  const ended = new AbortController();
  const file = join(directory, `output-${(outputs += 1)}`);
  const done = hostRunner
    .run(['sh', '-c', `exec "$@" > ${file} 2>&1`, 'sh', 'ip', 'netns', 'exec', netns, ...argv], {}, ended.signal)
    .catch(() => {});
  const read = async (): Promise<string[]> => (await sh(`cat ${file} 2>/dev/null || true`)).split('\n').filter(Boolean);
  return {
    read,
    async stop() {
      ended.abort();
      await done;
    },
  };
}

/** `SLIPWAY_E2E_LONG=1`: on a machine with very much to do a connection of IPv4 once did not come back within a minute. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const directory = isLong ? mkdtempSync(join(tmpdir(), 'slipway-moving-')) : '';
const made: TestNode[] = [];

async function makeNode(number: number): Promise<TestNode> {
  const base = { number, name: `n${number}`, netns: `${PREFIX}-n${number}`, stateDir: join(directory, `n${number}`) };
  await sh(nodeLink(number, base.netns));
  const node = { ...base, network: create(base), stop: new AbortController() };
  made.push(node);
  await node.network.start(node.stop.signal);
  return node;
}

/** The agent of the node is another one from now on. */
async function restart(node: TestNode): Promise<void> {
  node.stop.abort();
  node.stop = new AbortController();
  node.network = create(node);
  await node.network.start(node.stop.signal);
}

/** A guest at the end of a link that moves from pod to pod, as its TCP connections do inside of its memory. */
async function plugGuest(name: string, into: string, mac: string): Promise<string> {
  const guest = `${PREFIX}-${name}-g`;
  await sh(`ip netns add ${guest}
ip -n ${into} link add gport type veth peer name eth0 netns ${guest}
ip -n ${into} link set gport master k6t-eth0 up
ip -n ${guest} link set eth0 address ${mac} up
ip -n ${guest} link set lo up`);
  return guest;
}
const moveGuest = (from: string, to: string): Promise<string> =>
  sh(`ip -n ${from} link set gport netns ${to} && ip -n ${to} link set gport master k6t-eth0 up`);

const gapOf = (lines: readonly string[]): number => {
  const times = lines.map((line) => Number(line.split(' ')[0])).filter((time) => time > 0);
  return Math.max(0, ...times.slice(1).map((time, index) => time - (times[index] ?? time)));
};

describe.skipIf(!isLong)('a guest that moves from node to node', () => {
  let [one, two]: TestNode[] = [];
  beforeAll(async () => {
    known = [nodeObject(1), nodeObject(2)];
    await sh(lan);
    [one, two] = [await makeNode(1), await makeNode(2)];
  });
  afterAll(async () => {
    for (const { network, stop } of made) {
      stop.abort();
      await network.destroy();
    }
    await sh(`for name in $(ls /run/netns | grep '^${PREFIX}'); do
  for pid in $(ip netns pids $name); do kill -9 $pid; done; ip netns del $name; done; true`);
    rmSync(directory, { recursive: true, force: true });
  });

  /** There and back again, with a connection that lives through all of it. */
  async function travels(
    name: string,
    binding: object,
    address: (ips: readonly string[]) => string,
    ip: (ips: readonly string[]) => string,
  ) {
    if (!one || !two) throw new Error('no nodes');
    const [first, second, third] = [`${name}1`, `${name}2`, `${name}3`];
    const status = await one.network.setUp(pod(first), vmi(name, 'n1', binding), sandbox(first), signal);
    const netnsOf = (place: string): string => sandbox(place).netns;
    const guest = await plugGuest(name, netnsOf(first), status.interfaces[0]?.mac ?? '');
    await sh(ip(status.podIPs).replaceAll('GUEST', guest));
    const server = background(guest, [process.execPath, '-e', ECHO]);
    await vi.waitFor(async () => expect(await server.read()).toContain('ready'), patience);
    const to = address(status.podIPs);
    const connection = background(LAN, [process.execPath, '-e', COUNT, to]);
    const pings = background(LAN, ['sh', '-c', PINGS, 'sh', to]);
    const source = background(LAN, [process.execPath, '-e', PUSH]);
    await vi.waitFor(async () => expect(await source.read()).toContain('ready'), patience);
    const download = background(guest, [process.execPath, '-e', PULL, to.includes(':') ? 'fd97:70::1' : '10.197.70.1']);
    const goesOn = async (): Promise<void> => {
      const before = (await connection.read()).length;
      await vi.waitFor(async () => expect((await connection.read()).length).toBeGreaterThan(before + 20), patience);
      const pulled = (await download.read()).length;
      await vi.waitFor(async () => expect((await download.read()).length).toBeGreaterThan(pulled + 20), patience);
      const pinged = (await pings.read()).length;
      await vi.waitFor(async () => expect((await pings.read()).length).toBeGreaterThan(pinged + 3), patience);
    };
    await goesOn();

    // made and thrown away again: nobody notices
    await two.network.setUpWaiting(pod(`${name}x`), vmi(name, 'n1', binding), sandbox(`${name}x`), signal);
    await two.network.tearDown(`uid-${name}x`);
    const waiting = await two.network.setUpWaiting(pod(second), vmi(name, 'n1', binding), sandbox(second), signal);
    expect(waiting.podIPs).toEqual(status.podIPs);
    expect(waiting.interfaces).toEqual(status.interfaces);
    expect(await sh(`ip -n ${two.netns} route get ${to}`)).toContain(to.includes(':') ? 'via fd97:70::11' : 'via 10.197.70.11');
    await goesOn();

    // the agent of the target is another one by then
    await restart(two);
    expect(await sh(`ip -n ${two.netns} route get ${to}`)).toContain('dev mwlan');

    await moveGuest(netnsOf(first), netnsOf(second));
    await one.network.handOver(`uid-${first}`, ['10.197.70.12', 'fd97:70::12'], signal);
    await two.network.takeOver(`uid-${second}`, signal);
    await two.network.takeOver(`uid-${second}`, signal);
    await goesOn();
    expect(await sh(`ip -n ${one.netns} route get ${to}`)).toContain('dev mwlan');
    await restart(one);
    await goesOn();
    await one.network.tearDown(`uid-${first}`);
    await goesOn();
    expect(await sh(`ip -n ${one.netns} route get ${to}`)).toContain('dev mwlan');

    const home = await one.network.setUpWaiting(pod(third), vmi(name, 'n2', binding), sandbox(third), signal);
    await one.network.expect(`uid-${third}`, signal);
    await goesOn();
    expect(home.podIPs).toEqual(status.podIPs);
    await moveGuest(netnsOf(second), netnsOf(third));
    await two.network.handOver(`uid-${second}`, ['10.197.70.11', 'fd97:70::11'], signal);
    await one.network.takeOver(`uid-${third}`, signal);
    await goesOn();
    await two.network.tearDown(`uid-${second}`);
    await goesOn();
    // at home nobody needs to say so any more
    await vi.waitFor(
      () => expect(known.map(({ metadata }) => metadata.annotations?.['slipway.dev/visiting-addresses'])).toEqual(['', '']),
      patience,
    );

    const [lines, numbers] = [await connection.read(), await download.read()];
    expect([...lines, ...numbers].every((line) => /^\d+ \d+$/.test(line))).toBe(true);
    const echoes = await pings.read();
    process.stdout.write(
      `${name}: largest gap of ${lines.length} answers ${gapOf(lines)} ms, of ${numbers.length} numbers ${gapOf(numbers)} ms, of ${echoes.length} pings ${gapOf(echoes)} ms\n`,
    );
    await Promise.all([connection.stop(), pings.stop(), server.stop(), download.stop(), source.stop()]);
    await one.network.tearDown(`uid-${third}`);
  }

  const masqueraded = `ip -n GUEST addr add 10.0.2.2/24 dev eth0; ip -n GUEST route add default via 10.0.2.1
ip -n GUEST addr add fd10:0:2::2/120 dev eth0 nodad; ip -n GUEST route add ::/0 via fd10:0:2::1`;

  it('ends a connection that said nothing since it moved', async () => {
    if (!one || !two) throw new Error('no nodes');
    const status = await one.network.setUp(pod('e1'), vmi('e', 'n1', { masquerade: {} }), sandbox('e1'), signal);
    const guest = await plugGuest('e', sandbox('e1').netns, status.interfaces[0]?.mac ?? '');
    await sh(masqueraded.replaceAll('GUEST', guest));
    const server = background(guest, [process.execPath, '-e', ENDING]);
    await vi.waitFor(async () => expect(await server.read()).toContain('ready'), patience);
    const client = background(LAN, [process.execPath, '-e', ENDED, status.podIPs[0] ?? '']);
    await vi.waitFor(async () => expect(await client.read()).toContain('open'), patience);
    await two.network.setUpWaiting(pod('e2'), vmi('e', 'n1', { masquerade: {} }), sandbox('e2'), signal);
    await moveGuest(sandbox('e1').netns, sandbox('e2').netns);
    await one.network.handOver('uid-e1', ['10.197.70.12', 'fd97:70::12'], signal);
    await two.network.takeOver('uid-e2', signal);
    const [pid = ''] = (await server.read()).flatMap((line) => (line.startsWith('pid ') ? [line.slice(4)] : []));
    await sh(`kill -USR2 ${pid}`);
    await vi.waitFor(async () => expect(await client.read()).toContain('ended'), patience);
    await Promise.all([server.stop(), client.stop()]);
    await one.network.tearDown('uid-e1');
    await two.network.tearDown('uid-e2');
  }, 120_000);

  it('keeps its connections behind the address of the pod', async () => {
    await travels(
      'm4',
      { masquerade: {} },
      ([v4 = '']) => v4,
      () => masqueraded,
    );
  }, 120_000);

  it('keeps its connections in IPv6, with a list of ports', async () => {
    await travels(
      'm6',
      { masquerade: {}, ports: [{ port: 8080 }] },
      ([, v6 = '']) => v6,
      () => masqueraded,
    );
  }, 120_000);

  it('keeps the address of the pod and its router', async () => {
    const configured = (ips: readonly string[]): string =>
      `ip -n GUEST addr add ${ips[0]}/24 dev eth0; ip -n GUEST route add default via 10.197.71.1`;
    await travels('b4', { bridge: {} }, ([v4 = '']) => v4, configured);
  }, 120_000);
});
