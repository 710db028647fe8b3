import { NodeKind, PodKind } from '@slipway/api';
import { node, pod, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { podGcController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

describe('pod garbage collection', () => {
  it('removes the pods of a node that stays away, not those of one that comes back', async () => {
    world = await testWorld({ controllers: [podGcController] }).with(
      node('node1'),
      node('node2'),
      pod('a/one', { spec: { nodeName: 'node1' } }),
      pod('a/two', { spec: { nodeName: 'node2' } }),
    );
    await world.settle();
    for (const name of ['node1', 'node2']) await world.client.delete(NodeKind, { namespace: '', name });
    await world.settle();
    await world.advance(20_000);
    await world.with(node('node2'));
    await world.settle();
    await world.advance(21_000);
    expect((await world.list(PodKind)).map(({ metadata }) => metadata.name)).toEqual(['two']);
  });

  it('removes deleted pods that never had a node', async () => {
    const metadata = { name: 'one', namespace: 'a', deletionTimestamp: '2026-01-01T00:00:00Z' };
    world = await testWorld({ controllers: [podGcController] }).with(pod('a/one', { metadata }), pod('a/waiting'));
    await world.settle();
    expect((await world.list(PodKind)).map((object) => object.metadata.name)).toEqual(['waiting']);
  });
});
