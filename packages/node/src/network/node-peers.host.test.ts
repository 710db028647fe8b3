import type { Node } from '@slipway/api';
import { hostRunner } from '@slipway/hostapi';
import { type Informer, type InformerEvent, silentLogger, systemClock } from '@slipway/runtime';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { Client } from '@slipway/client';
import { NodePeers } from './node-peers.ts';
import { annotationsOf } from './plan-peers.ts';

const NETNS = 'f0c2a1-node';
const stop = new AbortController();
const { signal } = new AbortController();
const sh = async (script: string): Promise<string> => (await hostRunner.run(['sh', '-c', script], {}, signal)).stdout;
const runner: typeof hostRunner = {
  run: (argv, options, aborting) => hostRunner.run(['nsenter', `--net=/run/netns/${NETNS}`, ...argv], options, aborting),
};
const patience = { timeout: 60_000, interval: 50 };

const link = (number: number) => ({
  device: 'eth0',
  addressV4: `10.197.66.1${number}`,
  addressV6: `fd97:66::1${number}`,
  networks: [],
});
const at = (addresses: readonly string[], turn = 0) => addresses.map((address) => ({ address, turn }));
const nodeWith = (number: number, visitors: string[] = []): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: `n${number}`, annotations: annotationsOf(link(number), {}, at(visitors)) },
  spec: { podCIDRs: [`10.197.5${number}.0/24`, `fd97:5${number}::/64`] },
  status: { conditions: [{ type: 'Ready', status: 'True' }] },
});

/** As many nodes as a test says, without a cluster. */
let known: Node[] = [];
let tell: (event: InformerEvent<Node>) => void = () => {};
const patch = vi.fn<(...args: readonly unknown[]) => Promise<object>>(async () => ({}));
const nodes = {
  lister: {
    list: () => known,
    get: ({ name }: { name: string }) => known.find(({ metadata }) => metadata.name === name),
  },
  whenSynced: async () => {},
  addHandler: (handler: typeof tell) => {
    tell = handler;
  },
} as unknown as Informer<Node>; // the parts that are used
const peers = new NodePeers({
  ...{ nodeName: 'n1', link: link(1), nodes, runner, clock: systemClock, log: silentLogger },
  client: { patch } as unknown as Client, // the part that is used
});
const become = (...next: Node[]): void => {
  known = next;
  tell({ type: 'added', object: next[0] ?? nodeWith(1) });
};
const routes = () => sh(`ip -n ${NETNS} route show proto 117; ip -n ${NETNS} -6 route show proto 117`);

beforeAll(async () => {
  await sh(`ip netns add ${NETNS}
ip -n ${NETNS} link add eth0 type veth peer name other
ip -n ${NETNS} link set eth0 up; ip -n ${NETNS} link set other up
ip -n ${NETNS} addr add 10.197.66.11/24 dev eth0; ip -n ${NETNS} addr add fd97:66::11/64 dev eth0 nodad`);
  peers.start(stop.signal);
});
afterAll(async () => {
  stop.abort();
  await sh(`ip netns del ${NETNS}`);
});

it('keeps routes to the pods of nodes that come and go, and to addresses that move', async () => {
  become(nodeWith(1), nodeWith(2, ['10.197.51.5', 'fd97:51::5']));
  await vi.waitFor(async () => expect((await routes()).split('\n').filter(Boolean)).toHaveLength(4), patience);
  expect(await sh(`ip -n ${NETNS} route get 10.197.51.5`)).toContain('via 10.197.66.12');
  expect(await sh(`ip -n ${NETNS} route get fd97:52::9`)).toContain('via fd97:66::12');
  become(nodeWith(1), nodeWith(2), nodeWith(3, ['10.197.51.5']));
  await vi.waitFor(async () => expect(await routes()).toContain('10.197.51.5 via 10.197.66.13'), patience);
  expect(await routes()).not.toContain('fd97:51::5');
  become(nodeWith(1));
  await vi.waitFor(async () => expect(await routes()).toBe(''), patience);
});

it('lets a pod that is here go before what another node says', async () => {
  await sh(`ip -n ${NETNS} route add 10.197.51.7/32 dev other`);
  become(nodeWith(1), nodeWith(2, ['10.197.51.7']));
  await vi.waitFor(async () => expect(await routes()).toContain('10.197.51.7'), patience);
  expect(await sh(`ip -n ${NETNS} route get 10.197.51.7`)).toContain('dev other');
});

it('tells the others once what is here, and not what the node says already', async () => {
  become(nodeWith(1));
  patch.mockClear();
  peers.publish({ vm: 4 }, at(['10.197.52.8', '10.197.51.2']));
  await vi.waitFor(() => expect(patch).toHaveBeenCalled(), patience);
  expect(patch.mock.calls[0]?.[2]).toEqual({ metadata: { annotations: annotationsOf(link(1), { vm: 4 }, at(['10.197.52.8'])) } });
});

it('sends on what left for another node until that one says so, and answers again when it comes back', async () => {
  become(nodeWith(1), nodeWith(2));
  await peers.sendOn(['10.197.51.9'], { link: ['10.197.66.12', 'fd97:66::12'], turn: 0 }, signal);
  expect(await routes()).toContain('10.197.51.9 via 10.197.66.12');
  expect(peers.isElsewhere('10.197.51.9')).toBe(true);
  // the round that began then leaves it alone
  become(nodeWith(1), nodeWith(2), nodeWith(3));
  await vi.waitFor(async () => expect(await routes()).toContain('10.197.53.0/24'), patience);
  expect(await routes()).toContain('10.197.51.9 via 10.197.66.12');
  // heard, and moved on: nothing is left to send on
  become(nodeWith(1), nodeWith(2, ['10.197.51.9']));
  await vi.waitFor(async () => expect(await routes()).not.toContain('10.197.53.0/24'), patience);
  become(nodeWith(1), nodeWith(2), nodeWith(3, ['10.197.51.9']));
  await vi.waitFor(async () => expect(await routes()).toContain('10.197.51.9 via 10.197.66.13'), patience);
  become(nodeWith(1), nodeWith(2));
  await vi.waitFor(async () => expect(await routes()).not.toContain('10.197.51.9'), patience);
});
