import { EndpointSliceKind, EndpointsKind, PodKind, ServiceKind } from '@slipway/api';
import { built, pod, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { endpointSliceController, endpointsController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

const service = (spec: object) => built(ServiceKind, 'a/web', { spec });
const running = (name: string, podIPs: string[], ready = 'True') =>
  pod(`a/${name}`, {
    metadata: { name, namespace: 'a', labels: { app: 'web' } },
    spec: { nodeName: 'node1', containers: [{ name: 'main', image: 'x', ports: [{ name: 'http', containerPort: 8080 }] }] },
    status: { phase: 'Running', podIPs: podIPs.map((ip) => ({ ip })), conditions: [{ type: 'Ready', status: ready }] },
  });

describe('endpoint slices', () => {
  it('list the pods of a service with their addresses, ports and readiness', async () => {
    world = await testWorld({ api: 'server', controllers: [endpointSliceController] }).with(
      service({
        selector: { app: 'web' },
        ipFamilies: ['IPv4', 'IPv6'],
        ipFamilyPolicy: 'PreferDualStack',
        ports: [
          { name: 'http', port: 80, targetPort: 'http' },
          { name: 'ssh', port: 22 },
        ],
      }),
      running('one', ['10.0.0.1', 'fd10::1']),
      running('two', ['10.0.0.2'], 'False'),
      pod('a/other', { status: { phase: 'Running', podIPs: [{ ip: '10.0.0.3' }] } }),
    );
    await world.settle();
    const v4 = await world.get(EndpointSliceKind, 'a/web-ipv4');
    expect(v4.endpoints.map(({ addresses, conditions }) => [addresses[0], conditions.ready])).toEqual([
      ['10.0.0.1', true],
      ['10.0.0.2', false],
    ]);
    expect(v4.ports).toEqual([
      { name: 'http', port: 8080, protocol: 'TCP' },
      { name: 'ssh', port: 22, protocol: 'TCP' },
    ]);
    expect((await world.get(EndpointSliceKind, 'a/web-ipv6')).endpoints).toHaveLength(1);
    await world.client.delete(PodKind, { namespace: 'a', name: 'one' }, { gracePeriodSeconds: 0 });
    await world.settle();
    expect((await world.get(EndpointSliceKind, 'a/web-ipv4')).endpoints.map(({ addresses }) => addresses[0])).toEqual([
      '10.0.0.2',
    ]);
  });

  it('are left to others when a service has no selector', async () => {
    world = await testWorld({ api: 'server', controllers: [endpointSliceController] }).with(
      service({ ports: [{ port: 80 }] }),
      running('one', ['10.0.0.1']),
    );
    await world.settle();
    expect(await world.list(EndpointSliceKind)).toEqual([]);
  });
});

describe('legacy endpoints', () => {
  it('carry the name of the service and go with it', async () => {
    world = await testWorld({ api: 'server', controllers: [endpointsController] }).with(
      service({ selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 'http' }] }),
      running('one', ['10.0.0.1', 'fd10::1']),
      running('two', ['10.0.0.2'], 'False'),
    );
    await world.settle();
    const { subsets = [] } = await world.get(EndpointsKind, 'a/web');
    expect(subsets).toHaveLength(1);
    expect(subsets[0]).toMatchObject({
      addresses: [{ ip: '10.0.0.1', nodeName: 'node1', targetRef: { kind: 'Pod', name: 'one' } }],
      notReadyAddresses: [{ ip: '10.0.0.2' }],
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    });
    await world.client.delete(ServiceKind, { namespace: 'a', name: 'web' });
    await world.settle();
    expect(await world.exists(EndpointsKind, 'a/web')).toBe(false);
  });
});
