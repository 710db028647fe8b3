import { describe, expect, it } from 'vitest';
import { type InstanceConfig, loadBalancerAddresses, planInstance, resizeInstance } from './instance-config.ts';

const request = {
  dataDir: '/var/lib/slipway',
  listenHost: '127.0.0.1',
  listenPort: 6443,
  nodeCount: 1,
  hostname: 'box',
  routedNetworks: ['0.0.0.0/0', '192.168.1.0/24'],
  createdAt: '2026-01-01T00:00:00Z',
};

describe('planInstance', () => {
  it('gives the same names for the same data directory and others for another', () => {
    expect(planInstance(request)).toEqual(planInstance(request));
    const other = planInstance({ ...request, dataDir: '/srv/other' });
    expect(other.id).not.toBe(planInstance(request).id);
    expect(other.nodes[0]?.hostPrefix).not.toBe(planInstance(request).nodes[0]?.hostPrefix);
  });

  it('stays clear of networks that the host routes', () => {
    const first = planInstance(request).nodes[0]?.podCidrV4 ?? '';
    const second = planInstance({ ...request, routedNetworks: [first] }).nodes[0]?.podCidrV4;
    expect(second).not.toBe(first);
    expect(() => planInstance({ ...request, routedNetworks: ['10.0.0.0/8'] })).toThrow(/No free \/24/);
  });

  it.each([
    [[], '10.0.0.0/16'],
    [['10.0.7.0/24'], '10.96.0.0/16'],
    [['10.0.0.0/15', '10.96.0.0/16'], '10.97.0.0/16'],
  ])('takes addresses of Services beside %j', (routedNetworks, clusterV4) => {
    expect(planInstance({ ...request, routedNetworks }).services?.clusterV4).toBe(clusterV4);
  });

  it('takes a range for load balancers that nobody routes', () => {
    const range = (routedNetworks: readonly string[]) => planInstance({ ...request, routedNetworks }).services;
    const first = range([]);
    expect(first && loadBalancerAddresses(first).slice(0, 2)).toEqual(
      [1, 2].map((last) => first?.loadBalancersV4.replace('0/24', `${last}`)),
    );
    expect(range([first?.loadBalancersV4 ?? ''])?.loadBalancersV4).not.toBe(first?.loadBalancersV4);
  });

  it('keeps the uids of nodes and of the server apart and below 2^31', () => {
    const plan = planInstance({ ...request, nodeCount: 3 });
    const bases = [plan.serverUid, ...plan.nodes.map((node) => node.uidBase)];
    expect(new Set(bases).size).toBe(4);
    expect(Math.max(...bases) + 8192).toBeLessThan(2 ** 31);
    expect(plan.nodes.map((node) => node.name)).toEqual(['box-1', 'box-2', 'box-3']);
  });
});

describe('resizeInstance', () => {
  const resize = (config: InstanceConfig, nodeCount: number) => resizeInstance(config, { ...request, nodeCount });
  const names = ({ nodes }: InstanceConfig) => nodes.map(({ name }) => name);
  const [one, three] = [planInstance(request), planInstance({ ...request, nodeCount: 3 })];

  it('gives one node nothing of a link, and several nodes namespaces of their own', () => {
    expect(one.link).toBeUndefined();
    expect(one.nodes[0]?.linkIndex).toBeUndefined();
    expect(three.nodes.map(({ linkIndex }) => linkIndex)).toEqual([1, 2, 3]);
    expect(three.link?.networkV4).toMatch(/^10\.245\.\d+\.0\/24$/);
  });

  it.each([
    ['raised from one', resize(one, 2), ['box', 'box-2'], [undefined, 2]],
    ['raised', resize(three, 4), ['box-1', 'box-2', 'box-3', 'box-4'], [1, 2, 3, 4]],
    ['lowered', resize(three, 1), ['box-1'], [1]],
    ['the same', resize(three, 3), ['box-1', 'box-2', 'box-3'], [1, 2, 3]],
  ])('%s: who was there stays as it was', (_, config, expected, indices) => {
    expect(names(config)).toEqual(expected);
    expect(config.nodes.map(({ linkIndex }) => linkIndex)).toEqual(indices);
    const before = [one, three].flatMap(({ nodes }) => nodes);
    for (const node of config.nodes.slice(0, Math.min(config.nodes.length, 1))) expect(before).toContainEqual(node);
    for (const key of ['name', 'hostPrefix', 'podCidrV4', 'podCidrV6', 'uidBase'] as const)
      expect(new Set(config.nodes.map((node) => node[key])).size).toBe(expected.length);
  });

  it('remembers who leaves until it is gone, and lets it stay after all', () => {
    const leaving = resize(three, 1);
    expect(leaving.leaving?.map(({ name }) => name)).toEqual(['box-2', 'box-3']);
    expect(resize(leaving, 2).leaving?.map(({ name }) => name)).toEqual(['box-3']);
    expect(resize(leaving, 3)).toEqual(three);
  });

  it('does not give away networks that a node has whose bridge is down', () => {
    const [, second] = resize(one, 2).nodes;
    expect(second?.podCidrV4).not.toBe(one.nodes[0]?.podCidrV4);
    expect(() => resize(one, 16)).toThrow(/between 1 and 15/);
  });
});
