import { ConfigMapKind, NamespaceKind, PodKind } from '@slipway/api';
import { built, namespace, pod, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { namespaceController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

describe('namespace deletion', () => {
  it('empties the namespace, and no other, then lets it go', async () => {
    world = await testWorld({ api: 'server', controllers: [namespaceController([PodKind, ConfigMapKind])] }).with(
      namespace('a'),
      namespace('b'),
      pod('a/web'),
      built(ConfigMapKind, 'a/settings'),
      pod('b/web'),
    );
    await world.settle();
    await world.client.delete(NamespaceKind, { namespace: '', name: 'a' });
    await world.settle();
    await world.advance(1000);
    expect(await world.exists(NamespaceKind, 'a')).toBe(false);
    expect(await world.list(PodKind)).toHaveLength(1);
    expect(await world.list(ConfigMapKind)).toHaveLength(0);
  });

  it('waits for finalizers and says which', async () => {
    const held = built(ConfigMapKind, 'a/held', { metadata: { name: 'held', namespace: 'a', finalizers: ['x.io/hold'] } });
    world = await testWorld({ api: 'server', controllers: [namespaceController([ConfigMapKind])] }).with(namespace('a'), held);
    await world.client.delete(NamespaceKind, { namespace: '', name: 'a' });
    await world.settle();
    expect((await world.get(NamespaceKind, 'a')).status?.conditions).toMatchObject([
      { type: 'NamespaceDeletionDiscoveryFailure', status: 'False' },
      { type: 'NamespaceDeletionGroupVersionParsingFailure', status: 'False' },
      { type: 'NamespaceDeletionContentFailure', status: 'False' },
      {
        type: 'NamespaceContentRemaining',
        status: 'True',
        message: 'Some resources are remaining: configmaps. has 1 resource instances',
      },
      {
        type: 'NamespaceFinalizersRemaining',
        status: 'True',
        message: 'Some content in the namespace has finalizers remaining: x.io/hold in 1 resource instances',
      },
    ]);
    const object = await world.get(ConfigMapKind, 'a/held');
    await world.client.update(ConfigMapKind, { ...object, metadata: { ...object.metadata, finalizers: [] } });
    await world.advance(1000);
    expect(await world.exists(NamespaceKind, 'a')).toBe(false);
  });
});
