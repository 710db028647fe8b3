import { hostRunner, ipCommand, nftCommand } from '@slipway/hostapi';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connectedNodes, ensureInstanceLink, removeInstanceLink, removeLinkedNode, runnerOfNode } from './instance-link.ts';
import { linkNames, nodeLink, nodeNamespace } from './plan-instance-link.ts';

const ID = 'f0c1d2';
const { signal } = new AbortController();
const link = { networkV4: '10.197.77.0/24', networkV6: 'fd97:77::/64', hostV4: '10.197.77.1', hostV6: 'fd97:77::1' };
const node = (linkIndex: number) => ({
  hostPrefix: `f0c1e${linkIndex}`,
  podCidrV4: `10.197.8${linkIndex}.0/24`,
  podCidrV6: `fd97:8${linkIndex}::/64`,
  linkIndex,
});
const [one, two] = [node(1), node(2)];
const serviceNetworks = ['10.197.90.0/24', 'fd97:90::/112'];
const request = { id: ID, link, nodes: [one, two], serviceNetworks };
const names = linkNames(ID);
const ip = ipCommand(hostRunner);

/** Run in a namespace, `undefined` for this machine's. */
const sh = async (namespace: string | undefined, script: string): Promise<string> => {
  const shell: [string, ...string[]] = ['sh', '-c', script];
  const argv: [string, ...string[]] = namespace === undefined ? shell : ['nsenter', `--net=/run/netns/${namespace}`, ...shell];
  return (await hostRunner.run(argv, { timeoutMs: 60_000 }, signal)).stdout;
};
const traces = async (): Promise<string[]> => {
  const found = [
    ...(await ip.namespaces(signal)),
    ...(await ip.links(signal)).map(({ ifname }) => ifname),
    ...(await nftCommand(hostRunner).tables(signal)).map(({ name }) => name),
    ...(await sh(undefined, 'ip route; ip -6 route')).split('\n'),
  ];
  return found.filter((text) => /f0c1|10\.197\.(77|8\d|90)\.|fd97:/.test(text));
};

beforeAll(() => ensureInstanceLink(request, hostRunner, signal));
afterAll(() => removeInstanceLink(request, hostRunner, signal));

it('joins nodes and this machine, and says who is connected', async () => {
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const) {
    const { addressV4, addressV6 } = nodeLink(ID, link, to);
    expect(await sh(nodeNamespace(from), `busybox ping -c 1 -W 20 ${addressV4}`)).toContain('1 packets received');
    expect(await sh(nodeNamespace(from), `busybox ping6 -c 1 -W 20 ${addressV6}`)).toContain('1 packets received');
    expect(await sh(nodeNamespace(from), `busybox ping -c 1 -W 20 ${link.hostV4}`)).toContain('1 packets received');
  }
  expect(await connectedNodes(ID, hostRunner, signal)).toEqual(new Set([1, 2]));
});

it('leads this machine to Services by way of the first node, and gives way to other routes', async () => {
  const { addressV4, addressV6 } = nodeLink(ID, link, one);
  const wayTo = (address: string): Promise<string> => sh(undefined, `ip route get ${address}`);
  expect(await wayTo('10.197.90.7')).toContain(`via ${addressV4} dev ${names.host}`);
  expect(await wayTo('fd97:90::7')).toContain(`via ${addressV6} dev ${names.host}`);
  // as with a node that shares the namespace of this machine
  await sh(undefined, 'ip route add 10.197.90.0/24 dev lo');
  expect(await wayTo('10.197.90.7')).toContain('dev lo');
  await sh(undefined, 'ip route del 10.197.90.0/24 dev lo');
  // the node answers for them in its packet filter
  await sh(nodeNamespace(one), 'ip addr add 10.197.90.7/32 dev lo');
  expect(await sh(undefined, 'busybox ping -c 1 -W 20 10.197.90.7')).toContain('1 packets received');
});

it('carries packets of the whole MTU and no larger ones', async () => {
  const { mtu = 0 } = (await ip.links(signal)).find(({ ifname }) => ifname === names.host) ?? {};
  const { addressV4 } = nodeLink(ID, link, two);
  const HEADERS = 28;
  const ping = (size: number) => sh(nodeNamespace(one), `busybox ping -c 1 -W 20 -s ${size - HEADERS} ${addressV4}`);
  expect(await ping(mtu)).toContain('1 packets received');
  const inside = await ip.inNamespace(nodeNamespace(one)).links(signal);
  expect(inside.find(({ ifname }) => ifname === 'eth0')?.mtu).toBe(mtu);
});

it('cuts a node off when its port is down, and joins it again', async () => {
  await ip.inNamespace(names.namespace).exec(['link', 'set', 'n2', 'down'], signal);
  expect(await connectedNodes(ID, hostRunner, signal)).toEqual(new Set([1]));
  const { addressV4 } = nodeLink(ID, link, two);
  expect(await sh(nodeNamespace(one), `busybox ping -c 1 -W 1 ${addressV4} || true`)).toContain('0 packets received');
  await ensureInstanceLink(request, hostRunner, signal);
  expect(await sh(nodeNamespace(one), `busybox ping -c 3 -W 20 ${addressV4}`)).not.toContain(' 0 packets received');
});

it('repeats what an interruption left out', async () => {
  await ip.exec(['link', 'del', names.host], signal);
  await ip.inNamespace(names.namespace).exec(['link', 'del', 'n1'], signal);
  await ensureInstanceLink(request, hostRunner, signal);
  expect(await sh(nodeNamespace(one), `busybox ping -c 3 -W 20 ${link.hostV4}`)).not.toContain(' 0 packets received');
});

it('runs programs in a node, and removes one node and then everything', async () => {
  const runner = await runnerOfNode(two, hostRunner, signal);
  expect((await runner?.run(['ip', '-br', 'addr'], {}, signal))?.stdout).toContain(nodeLink(ID, link, two).addressV4);
  await removeLinkedNode(ID, two, hostRunner, signal);
  expect(await runnerOfNode(two, hostRunner, signal)).toBeUndefined();
  expect(await connectedNodes(ID, hostRunner, signal)).toEqual(new Set([1]));
  await removeInstanceLink(request, hostRunner, signal);
  await removeInstanceLink(request, hostRunner, signal);
  expect(await traces()).toEqual([]);
});
