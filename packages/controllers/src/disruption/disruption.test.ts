import { PodDisruptionBudgetKind, PodKind, ReplicaSetKind } from '@slipway/api';
import { controllerReference } from '@slipway/apimachinery';
import { built, pod, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { disruptionController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

const labels = { app: 'web' };
const budget = (spec: object) => built(PodDisruptionBudgetKind, 'a/b', { spec: { selector: { matchLabels: labels }, ...spec } });
const member = (name: string, status: 'True' | 'False', ownerReferences: ReturnType<typeof controllerReference>[] = []) =>
  pod(`a/${name}`, {
    metadata: { name, namespace: 'a', labels, ownerReferences },
    spec: { nodeName: 'n' },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status }] },
  });
const statusOf = async () => (await world.get(PodDisruptionBudgetKind, 'a/b')).status;
const evict = (name: string) =>
  world.client.raw({
    method: 'POST',
    path: `/api/v1/namespaces/a/pods/${name}/eviction`,
    body: { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace: 'a' } },
  });

describe('disruption budgets', () => {
  it('permit as many evictions as healthy pods are over the minimum', async () => {
    world = await testWorld({ api: 'server', controllers: [disruptionController] }).with(
      budget({ minAvailable: 1 }),
      member('one', 'True'),
      member('two', 'True'),
      member('three', 'False'),
    );
    await world.settle();
    expect(await statusOf()).toMatchObject({
      observedGeneration: 1,
      expectedPods: 3,
      currentHealthy: 2,
      desiredHealthy: 1,
      disruptionsAllowed: 1,
      conditions: [{ type: 'DisruptionAllowed', status: 'True', reason: 'SufficientPods' }],
    });
    expect((await evict('one')).status).toBe(201);
    await world.settle();
    expect(await statusOf()).toMatchObject({ currentHealthy: 1, disruptionsAllowed: 0 });
    expect((await evict('two')).status).toBe(429);
  });

  it('measure percentages by what the controllers of the pods want', async () => {
    const template = { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'x' }] } };
    const set = built(ReplicaSetKind, 'a/set', { spec: { replicas: 4, selector: { matchLabels: labels }, template } });
    world = await testWorld({ api: 'server', controllers: [disruptionController] }).with(budget({ maxUnavailable: '30%' }), set);
    const ownerReferences = [controllerReference(await world.get(ReplicaSetKind, 'a/set'), ReplicaSetKind)];
    await world.with(...['1', '2', '3'].map((name) => member(name, 'True', ownerReferences)));
    await world.settle();
    expect(await statusOf()).toMatchObject({ expectedPods: 4, desiredHealthy: 2, currentHealthy: 3, disruptionsAllowed: 1 });
    await world.client.delete(PodKind, { namespace: 'a', name: '3' }, { gracePeriodSeconds: 0 });
    await world.settle();
    expect(await statusOf()).toMatchObject({ currentHealthy: 2, disruptionsAllowed: 0 });
  });

  it('permit nothing, and say so, when a share of nothing known is asked for', async () => {
    world = await testWorld({ api: 'server', controllers: [disruptionController] }).with(
      budget({ minAvailable: '50%' }),
      member('one', 'True'),
    );
    await world.settle();
    expect(await statusOf()).toMatchObject({
      disruptionsAllowed: 0,
      conditions: [{ type: 'DisruptionAllowed', status: 'False', reason: 'SyncFailed' }],
    });
  });
});
