import { LeaseKind, NodeKind, PodKind } from '@slipway/api';
import { built, node, pod, type TestWorld, testWorld } from '@slipway/testkit';
import { ARMED, FencingAnnotation } from '@slipway/virt';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeLifecycleController } from '../node-lifecycle/index.ts';
import { taintEvictionController } from '../taint-eviction/index.ts';
import { fencingController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

const lease = built(LeaseKind, 'kube-node-lease/n1', { spec: { renewTime: '2026-01-01T00:00:00.000000Z' } });
const tolerations = [{ key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 30 }];
const podOn = (name: string, promised?: string) => {
  const annotations = promised === undefined ? {} : { [FencingAnnotation.pod]: promised };
  return pod(`a/${name}`, { metadata: { annotations, finalizers: [] }, spec: { nodeName: 'n1', tolerations } } as object);
};
const names = async () =>
  (await world.list(PodKind)).map(({ metadata }) => metadata.name ?? '').sort((a, b) => a.localeCompare(b));
const isLeaving = async (name: string) => (await world.get(PodKind, `a/${name}`)).metadata.deletionTimestamp !== undefined;

describe('a node that falls silent', () => {
  it('loses what it has promised to end, when it has; what is bound to it stays', async () => {
    world = await testWorld({
      api: 'server',
      controllers: [nodeLifecycleController, taintEvictionController, fencingController],
    }).with(
      node('n1', { metadata: { annotations: { [FencingAnnotation.node]: ARMED } } } as object),
      lease,
      podOn('free', '70'),
      podOn('bound'),
    );
    await world.settle();
    await world.advance(41_000);
    const taints = (await world.get(NodeKind, 'n1')).spec?.taints?.map(({ key, effect }) => `${key}:${effect}`);
    expect(taints).toEqual(['node.kubernetes.io/unreachable:NoSchedule', 'node.kubernetes.io/unreachable:NoExecute']);
    expect([await isLeaving('free'), await isLeaving('bound')]).toEqual([false, false]);
    await world.advance(31_000);
    // asked to go, but it may still run
    expect([await isLeaving('free'), await isLeaving('bound')]).toEqual([true, false]);
    await world.advance(9_000);
    expect(await names()).toEqual(['bound']);
    expect(await isLeaving('bound')).toBe(false);
  });

  it('keeps everything when it is heard again in time', async () => {
    world = await testWorld({
      api: 'server',
      controllers: [nodeLifecycleController, taintEvictionController, fencingController],
    }).with(node('n1', { metadata: { annotations: { [FencingAnnotation.node]: ARMED } } } as object), lease, podOn('free', '70'));
    await world.settle();
    await world.advance(60_000);
    const conditions = [{ type: 'Ready', status: 'True', lastHeartbeatTime: '2026-01-01T00:01:00Z' }];
    const current = await world.get(NodeKind, 'n1');
    await world.client.update(NodeKind, { ...current, status: { ...current.status, conditions } }, { subresource: 'status' });
    await world.settle();
    await world.advance(30_000);
    expect(await isLeaving('free')).toBe(false);
  });
});
