import { EndpointSliceKind, NodeKind, ServiceKind } from '@slipway/api';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, expect, it } from 'vitest';
import { kubernetesServiceController } from './index.ts';
import { KUBERNETES } from './plan-kubernetes-service.ts';

let world: TestWorld;
afterEach(() => world.close());

const node = (number: number, ready: string) =>
  built(NodeKind, `n${number}`, {
    spec: { podCIDR: `10.244.${number}.0/24`, podCIDRs: [`10.244.${number}.0/24`, `fd10:244:${number}::/64`] },
    status: { conditions: [{ type: 'Ready', status: ready }] },
  });

it('leads to the API server by the node where one is, and comes back when it is deleted', async () => {
  world = await testWorld({
    api: 'server',
    controllers: [kubernetesServiceController],
    settings: { apiClusterIP: '10.0.0.1' },
  }).with(node(1, 'True'), node(2, 'Unknown'));
  await world.settle();
  const service = await world.get(ServiceKind, 'default/kubernetes');
  expect(service.spec).toMatchObject({ clusterIP: '10.0.0.1', internalTrafficPolicy: 'Local' });
  const { endpoints } = await world.get(EndpointSliceKind, 'default/kubernetes');
  expect(endpoints.map(({ addresses, nodeName, conditions }) => [addresses[0], nodeName, conditions.ready])).toEqual([
    ['10.244.1.1', 'n1', true],
    ['10.244.2.1', 'n2', false],
  ]);
  await world.client.delete(ServiceKind, KUBERNETES);
  await world.settle();
  expect(await world.exists(ServiceKind, 'default/kubernetes')).toBe(true);
});
