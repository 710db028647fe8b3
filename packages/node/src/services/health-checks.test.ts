import type { EndpointSlice, Service } from '@slipway/api';
import { silentLogger } from '@slipway/runtime';
import { createServer } from 'node:net';
import { afterEach, expect, it, vi } from 'vitest';
import { HealthChecks, serviceHealth } from './health-checks.ts';
import type { ServicePort } from './service-ports.ts';
import { staleFlows } from './stale-flows.ts';

const checks = new HealthChecks(silentLogger);
afterEach(() => checks.close());

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, () => {
      const { port } = server.address() as { port: number }; // a TCP server has one
      server.close(() => resolve(port));
    });
  });

it('says whether this node has endpoints, as long as the Service asks for it', async () => {
  const port = await freePort();
  const health = { namespace: 'a', name: 'web', port, localEndpoints: 2 };
  const ask = () =>
    fetch(`http://127.0.0.1:${port}/healthz`).then((answer) => answer.json().then((body) => [answer.status, body]));
  checks.update([health]);
  await vi.waitFor(async () => expect(await ask()).toMatchObject([200, { localEndpoints: 2, service: { name: 'web' } }]), 30_000);
  checks.update([{ ...health, localEndpoints: 0 }]);
  expect(await ask()).toMatchObject([503, { localEndpoints: 0 }]);
  checks.update([]);
  await vi.waitFor(() => expect(ask()).rejects.toThrow(), 30_000);
});

it('counts the endpoints of this node alone, each once', () => {
  const service = (spec: object) => ({ metadata: { namespace: 'a', name: 'web' }, spec }) as unknown as Service; // only these fields matter
  const slice = {
    metadata: {},
    addressType: 'IPv4',
    endpoints: ['here', 'here', 'there'].map((nodeName, index) => ({ addresses: [`10.1.0.${index}`], nodeName, conditions: {} })),
    ports: [{ name: '', port: 80 }],
  } as unknown as EndpointSlice; // only these fields matter
  const spec = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', clusterIP: '10.0.0.9', ports: [{ port: 80 }] };
  const found = serviceHealth([service({ ...spec, healthCheckNodePort: 32_000 }), service(spec)], () => [slice], 'here');
  expect(found).toEqual([{ namespace: 'a', name: 'web', port: 32_000, localEndpoints: 2 }]);
});

it('forgets UDP flows of endpoints that changed, and of Services that are gone', () => {
  const port = (address: string, more: Partial<ServicePort> = {}): ServicePort => {
    const targets = [{ address, port: 53, isLocal: true }];
    const base = { id: 'a/names:', family: 4, protocol: 'udp', port: 53, clusterIPs: ['10.0.0.9'], externalIPs: [] } as const;
    return { ...base, targets, externalTargets: targets, hasEndpoints: true, keepsSource: false, ...more };
  };
  const [one, two] = [port('10.1.0.2', { nodePort: 30_053 }), port('10.1.0.3', { nodePort: 30_053 })];
  expect(staleFlows([one], [one])).toEqual([]);
  expect(staleFlows([], [one])).toEqual([]);
  expect(staleFlows([{ ...one, protocol: 'tcp' }], [])).toEqual([]);
  expect(staleFlows([one], [two])).toEqual([
    { family: 4, address: '10.0.0.9', port: 53, endpoints: ['10.1.0.3'] },
    { family: 4, port: 30_053, endpoints: ['10.1.0.3'] },
  ]);
  expect(staleFlows([one], [])).toMatchObject([{ endpoints: [] }, { endpoints: [] }]);
});
