import { DeploymentKind, HorizontalPodAutoscalerKind } from '@slipway/api';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { horizontalPodAutoscalerController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

const autoscaler = built(HorizontalPodAutoscalerKind, 'a/h', {
  spec: { scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' }, minReplicas: 2, maxReplicas: 4 },
});
const deployment = (replicas: number) =>
  built(DeploymentKind, 'a/web', {
    spec: {
      replicas,
      selector: { matchLabels: { a: 'b' } },
      template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'x' }] } },
    },
  });
const said = async () =>
  (await world.get(HorizontalPodAutoscalerKind, 'a/h')).status?.conditions?.map(({ type, status, reason }) => [
    type,
    status,
    reason,
  ]);

describe('HorizontalPodAutoscaler', () => {
  it('keeps the target between its bounds and says that there are no metrics', async () => {
    world = await testWorld({ api: 'server', controllers: [horizontalPodAutoscalerController] }).with(deployment(9), autoscaler);
    await world.settle();
    expect((await world.get(DeploymentKind, 'a/web')).spec?.replicas).toBe(4);
    await world.advance(15_000);
    expect((await world.get(HorizontalPodAutoscalerKind, 'a/h')).status).toMatchObject({
      currentReplicas: 4,
      desiredReplicas: 4,
    });
    expect(await said()).toEqual([
      ['AbleToScale', 'True', 'SucceededGetScale'],
      ['ScalingActive', 'False', 'FailedGetResourceMetric'],
    ]);
  });

  it('says when there is nothing to scale', async () => {
    world = await testWorld({ api: 'server', controllers: [horizontalPodAutoscalerController] }).with(autoscaler);
    await world.settle();
    expect(await said()).toEqual([['AbleToScale', 'False', 'FailedGetScale']]);
  });
});
