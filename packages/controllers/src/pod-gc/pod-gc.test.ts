import { NodeKind, PodKind } from '@slipway/api';
import { node, pod, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { podGcController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

describe('pod garbage collection', () => {
  it('removes the pods of a node that stays away, not those of one that comes back', async () => {
    world = await testWorld({ api: 'server', controllers: [podGcController] }).with(
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
});
