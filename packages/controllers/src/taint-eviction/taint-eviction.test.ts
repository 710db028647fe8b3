import { NodeKind, PodKind } from '@slipway/api';
import { node, pod, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { taintEvictionController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

const on = (name: string, tolerations: object[] = []) => pod(`a/${name}`, { spec: { nodeName: 'n1', tolerations } as object });
const toleration = { key: 'broken', operator: 'Exists', effect: 'NoExecute' };
const isLeaving = async (name: string) => (await world.get(PodKind, `a/${name}`)).metadata.deletionTimestamp !== undefined;

describe('NoExecute taints', () => {
  it('end pods at once, after a time or never, as these tolerate', async () => {
    world = await testWorld({ api: 'server', controllers: [taintEvictionController] }).with(
      node('n1'),
      on('plain'),
      on('patient', [{ ...toleration, tolerationSeconds: 60 }]),
      on('tolerant', [toleration]),
    );
    await world.settle();
    expect(await isLeaving('plain')).toBe(false);
    const taints = [{ key: 'broken', effect: 'NoExecute' }];
    await world.client.patch(NodeKind, { namespace: '', name: 'n1' }, { spec: { taints } }, { type: 'merge' });
    await world.settle();
    expect([await isLeaving('plain'), await isLeaving('patient'), await isLeaving('tolerant')]).toEqual([true, false, false]);
    expect((await world.get(PodKind, 'a/plain')).status?.conditions).toContainEqual(
      expect.objectContaining({ type: 'DisruptionTarget', reason: 'DeletionByTaintManager' }),
    );
    await world.advance(61_000);
    expect([await isLeaving('patient'), await isLeaving('tolerant')]).toEqual([true, false]);
  });

  it('lets a pod stay when the taint goes in time', async () => {
    world = await testWorld({ api: 'server', controllers: [taintEvictionController] }).with(
      node('n1', { spec: { taints: [{ key: 'broken', effect: 'NoExecute' }] } }),
      on('patient', [{ ...toleration, tolerationSeconds: 60 }]),
    );
    await world.settle();
    await world.client.patch(NodeKind, { namespace: '', name: 'n1' }, { spec: { taints: null } }, { type: 'merge' });
    await world.settle();
    await world.advance(61_000);
    expect(await isLeaving('patient')).toBe(false);
  });
});
