import type { EndpointSlice, Service } from '@slipway/api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type PacketWorld, packetWorld } from '../network/testing/packet-world.ts';
import { type ServicePort, servicePorts } from './service-ports.ts';
import { type RulesetInputs, serviceRuleset, type TableParts } from './service-ruleset.ts';

const TABLE = 'slipway_f0svc0_services';
const signal = new AbortController().signal;

const service = (spec: object, status: object = {}): Service =>
  ({
    metadata: { name: 'web', namespace: 'a' },
    spec: { type: 'ClusterIP', clusterIP: '10.0.0.9', ports: [{ port: 80, protocol: 'TCP' }], ...spec },
    status,
  }) as unknown as Service; // only these fields matter

const slice = (addresses: readonly string[]): EndpointSlice =>
  ({
    metadata: { name: 'web', namespace: 'a' },
    addressType: addresses[0]?.includes(':') ? 'IPv6' : 'IPv4',
    endpoints: addresses.map((address) => ({ addresses: [address], nodeName: 'here', conditions: { ready: true } })),
    ports: [{ name: '', port: 8080, protocol: 'TCP' }],
  }) as unknown as EndpointSlice; // only these fields matter

describe('the rules of Services, in a network', () => {
  let world: PacketWorld;
  let host = '';
  let outside = '';
  const ask = (from: string, address: string, port: number): Promise<string> => world.ask(from, address, port);
  let existing: TableParts = { chains: new Set(), sets: new Set() };

  const apply = async (ports: readonly ServicePort[], link?: RulesetInputs['link']): Promise<void> => {
    const podNetworks = { v4: '10.244.0.0/16', v6: 'fd10:244::/32' };
    const { script, parts } = serviceRuleset({ table: TABLE, ports, podNetworks, link, existing });
    await world.nft.apply(script, signal);
    existing = parts;
  };
  const serve = (spec: object, addresses: readonly string[] = ['10.244.7.2'], status: object = {}): Promise<void> =>
    apply(servicePorts(service(spec, status), [slice(addresses)], 'here'));

  beforeAll(async () => {
    world = await packetWorld('f0svc0');
    ({ host, outside } = world);
  });
  afterAll(() => world?.close());

  it('lead pods, this machine and the pod itself to an endpoint', async () => {
    await serve({});
    expect(await ask(world.pod3, '10.0.0.9', 80)).toBe('pod2 10.244.7.3');
    expect(await ask(host, '10.0.0.9', 80)).toMatch(/^pod2 /);
    // the pod sees a connection of its own come from the node
    expect(await ask(world.pod2, '10.0.0.9', 80)).toBe('pod2 10.244.7.1');
  });

  it('lead clients elsewhere through this node, by node port and by address', async () => {
    const ports = [{ port: 80, protocol: 'TCP', nodePort: 30_080 }];
    await serve({ type: 'NodePort', ports, externalIPs: ['198.51.100.7'] });
    expect(await ask(outside, '192.0.2.1', 30_080)).toBe('pod2 10.244.7.1');
    expect(await ask(outside, '198.51.100.7', 80)).toBe('pod2 10.244.7.1');
    expect(await ask(outside, '10.0.0.9', 80)).toBe('pod2 10.244.7.1');
    expect(await ask(host, '127.0.0.1', 30_080)).toBe('pod2 10.244.7.1');
    expect(await ask(world.pod3, '10.244.7.1', 30_080)).toBe('pod2 10.244.7.3');
  });

  it('keep the address of the client when the Service says so', async () => {
    const ports = [{ port: 80, protocol: 'TCP', nodePort: 30_080 }];
    await serve({ type: 'NodePort', ports, externalTrafficPolicy: 'Local' });
    expect(await ask(outside, '192.0.2.1', 30_080)).toBe('pod2 192.0.2.9');
    const elsewhere = { ...slice(['10.244.7.2']) };
    for (const endpoint of elsewhere.endpoints) endpoint.nodeName = 'there';
    await apply(servicePorts(service({ type: 'NodePort', ports, externalTrafficPolicy: 'Local' }), [elsewhere], 'here'));
    expect(await world.askInVain(outside, '192.0.2.1', 30_080)).toBe('silence');
    expect(await ask(world.pod3, '10.244.7.1', 30_080)).toBe('pod2 10.244.7.3');
  });

  it('lead the machine of the nodes to a load balancer whose endpoints are on another node', async () => {
    const ports = [{ port: 80, protocol: 'TCP', nodePort: 30_080 }];
    const spec = { type: 'LoadBalancer', ports, externalTrafficPolicy: 'Local' };
    const balanced = service(spec, { loadBalancer: { ingress: [{ ip: '198.51.100.8' }] } });
    const [here, there] = [slice(['10.244.7.2']), slice(['10.244.7.2'])];
    for (const endpoint of there.endpoints) endpoint.nodeName = 'there';
    await apply(servicePorts(balanced, [there], 'here'));
    expect(await world.askInVain(outside, '198.51.100.8', 80)).toBe('silence');
    const link = { device: 'up0', networks: ['192.0.2.0/24', 'fd10:245::/64'] };
    await apply(servicePorts(balanced, [there], 'here'), link);
    expect(await ask(outside, '198.51.100.8', 80)).toBe('pod2 10.244.7.1');
    expect(await world.askInVain(outside, '192.0.2.1', 30_080)).toBe('silence');
    await apply(servicePorts(balanced, [here], 'here'), link);
    expect(await ask(outside, '198.51.100.8', 80)).toBe('pod2 192.0.2.9');
  });

  it('send the answers for pods of other nodes, which may be neighbours of the endpoint, through this node', async () => {
    const ports = [{ port: 80, protocol: 'TCP', nodePort: 30_080 }];
    // as if this pod came by the link
    const link = { device: 'v3', networks: [] };
    const cluster = service({ type: 'NodePort', ports });
    await apply(servicePorts(cluster, [slice(['10.244.7.2'])], 'here'), link);
    expect(await ask(world.pod3, '10.244.7.1', 30_080)).toBe('pod2 10.244.7.1');
    expect(await ask(world.pod3, '10.0.0.9', 80)).toBe('pod2 10.244.7.3');
    // with endpoints of the asked node alone it is a client like any other
    const local = service({ type: 'NodePort', ports, externalTrafficPolicy: 'Local' });
    await apply(servicePorts(local, [slice(['10.244.7.2'])], 'here'), link);
    expect(await ask(world.pod3, '10.244.7.1', 30_080)).toBe('pod2 10.244.7.3');
    const there = slice(['10.244.7.2']);
    for (const endpoint of there.endpoints) endpoint.nodeName = 'there';
    await apply(servicePorts(local, [there], 'here'), link);
    expect(await world.askInVain(world.pod3, '10.244.7.1', 30_080)).toBe('silence');
  });

  it('refuse a Service without endpoints, and a port that it has not', async () => {
    await serve({ type: 'NodePort', ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }] }, []);
    expect(await ask(world.pod3, '10.0.0.9', 80)).toBe('ECONNREFUSED');
    expect(await ask(host, '10.0.0.9', 80)).toBe('ECONNREFUSED');
    expect(await ask(outside, '192.0.2.1', 30_080)).toBe('ECONNREFUSED');
    await serve({});
    expect(await ask(world.pod3, '10.0.0.9', 81)).toBe('ECONNREFUSED');
  });

  it('leave clients alone when only other nodes have what they may ask', async () => {
    const there = slice(['10.244.7.2']);
    for (const endpoint of there.endpoints) endpoint.nodeName = 'there';
    await apply(servicePorts(service({ internalTrafficPolicy: 'Local' }), [there], 'here'));
    expect(await world.askInVain(world.pod3, '10.0.0.9', 80)).toBe('silence');
  });

  it('let those in alone whom a load balancer names', async () => {
    const status = { loadBalancer: { ingress: [{ ip: '198.51.100.8' }] } };
    const spec = { type: 'LoadBalancer', allocateLoadBalancerNodePorts: false };
    await serve({ ...spec, loadBalancerSourceRanges: ['192.0.2.0/24'] }, undefined, status);
    expect(await ask(outside, '198.51.100.8', 80)).toBe('pod2 10.244.7.1');
    await serve({ ...spec, loadBalancerSourceRanges: ['203.0.113.0/24'] }, undefined, status);
    expect(await world.askInVain(outside, '198.51.100.8', 80)).toBe('silence');
  });

  it('spread clients, and keep one with its endpoint when it asks for that', async () => {
    await serve({}, ['10.244.7.2', '10.244.7.3']);
    const seen = new Set<string>();
    for (let i = 0; i < 30 && seen.size < 2; i++) seen.add((await ask(host, '10.0.0.9', 80)).split(' ')[0] ?? '');
    expect([...seen].sort()).toEqual(['pod2', 'pod3']);
    const sticky = { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 600 } } };
    await serve(sticky, ['10.244.7.2', '10.244.7.3']);
    const first = await ask(outside, '10.0.0.9', 80);
    // another Service comes and the rules are written anew: the client is still known
    const other = servicePorts(
      { ...service({ clusterIP: '10.0.0.10' }), metadata: { name: 'other', namespace: 'a' } },
      [slice(['10.244.7.3'])],
      'here',
    );
    await apply([...servicePorts(service(sticky), [slice(['10.244.7.2', '10.244.7.3'])], 'here'), ...other]);
    for (let i = 0; i < 6; i++) expect(await ask(outside, '10.0.0.9', 80)).toBe(first);
  });

  it('work the same in IPv6', async () => {
    const ports = [{ port: 80, protocol: 'TCP', nodePort: 30_080 }];
    await serve({ type: 'NodePort', ports, clusterIP: 'fd10:96::9' }, ['fd10:244:7::2']);
    expect(await ask(world.pod3, 'fd10:96::9', 80)).toBe('pod2 fd10:244:7::3');
    expect(await ask(outside, '2001:db8::1', 30_080)).toBe('pod2 fd10:244:7::1');
    expect(await ask(world.pod2, 'fd10:96::9', 80)).toBe('pod2 fd10:244:7::1');
  });

  it('leave nothing of a Service that is gone', async () => {
    await apply([]);
    const { chains, sets } = await world.nft.partsOf({ family: 'inet', name: TABLE }, signal);
    expect(chains.filter((name) => /^(svc|ext|fw|ep)_/.test(name))).toEqual([]);
    expect(sets.filter((name) => name.startsWith('aff_'))).toEqual([]);
    expect(await ask(outside, '192.0.2.1', 30_080)).toBe('ECONNREFUSED');
  });
});
