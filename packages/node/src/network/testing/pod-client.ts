import { hostRunner } from '@slipway/hostapi';

const { signal } = new AbortController();
/** Never synchronously: the responder under test runs in this process. */
export const sh = async (script: string): Promise<string> => (await hostRunner.run(['sh', '-c', script], {}, signal)).stdout;
/** Runs a script in a network namespace. */
export const inPod = (netns: string, script: string): Promise<string> =>
  sh(`nsenter --net=/run/netns/${netns} sh -c '${script}'`);

/** A client that runs where the guest would: at the other end of a link in the pod's bridge, in place of QEMU's tap. */
export async function plugClient(netns: string, mac: string, bridge = 'k6t-eth0'): Promise<string> {
  const client = `${netns}-c`;
  await sh(`ip netns add ${client}
ip -n ${netns} link add gport type veth peer name eth0 netns ${client}
ip -n ${netns} link set gport master ${bridge} up
ip -n ${client} link set eth0 address ${mac} up
ip -n ${client} link set lo up`);
  return client;
}

const LEASE_SCRIPT = `#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev $interface
[ -n "$router" ] && ip route add default via $router dev $interface onlink
env
`;

/** Asks for a lease as a guest would, and configures the client with it. */
export async function requestLease(client: string, dir: string): Promise<Record<string, string>> {
  await sh(`cat > ${dir}/lease.sh <<'EOF'\n${LEASE_SCRIPT}EOF\nchmod +x ${dir}/lease.sh`);
  const output = await inPod(
    client,
    `busybox udhcpc -i eth0 -n -q -t 4 -T 1 -O search -O mtu -O staticroutes -s ${dir}/lease.sh 2>&1`,
  );
  return Object.fromEntries(output.split('\n').flatMap((line) => (line.includes('=') ? [line.split(/=(.*)/).slice(0, 2)] : [])));
}
