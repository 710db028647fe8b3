import type { OwnerReference } from '@slipway/apimachinery';
import { ConfigMapKind, PodKind, SecretKind } from '@slipway/api';
import { type Built, built, pod, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { garbageCollectorController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

async function start(...objects: readonly Built[]): Promise<void> {
  world = await testWorld({
    api: 'server',
    controllers: [garbageCollectorController(async () => [PodKind, ConfigMapKind, SecretKind])],
  }).with(...objects);
}

async function reference(path: string, more: Partial<OwnerReference> = {}): Promise<OwnerReference> {
  const { metadata } = await world.get(ConfigMapKind, path);
  return { apiVersion: 'v1', kind: 'ConfigMap', name: metadata.name ?? '', uid: metadata.uid ?? '', ...more };
}

const owned = (path: string, ...ownerReferences: OwnerReference[]): Built => {
  const [namespace = '', name = ''] = path.split('/');
  return pod(path, { metadata: { namespace, name, ownerReferences } });
};

const remove = (name: string, propagationPolicy: 'Background' | 'Foreground' | 'Orphan') =>
  world.client.delete(ConfigMapKind, { namespace: 'a', name }, { propagationPolicy });

describe('garbage collector', () => {
  it('deletes what a deleted owner left, and what that left', async () => {
    await start(built(ConfigMapKind, 'a/owner'));
    await world.with(owned('a/child', await reference('a/owner')));
    const child = await world.get(PodKind, 'a/child');
    const ownerReferences = [{ apiVersion: 'v1', kind: 'Pod', name: 'child', uid: child.metadata.uid ?? '' }];
    await world.with(built(SecretKind, 'a/grandchild', { metadata: { name: 'grandchild', namespace: 'a', ownerReferences } }));
    await world.settle();
    expect(await world.exists(PodKind, 'a/child')).toBe(true);
    await remove('owner', 'Background');
    await world.settle();
    expect([await world.exists(PodKind, 'a/child'), await world.exists(SecretKind, 'a/grandchild')]).toEqual([false, false]);
  });

  it('keeps what another owner still has, without the reference to the one that is gone', async () => {
    await start(built(ConfigMapKind, 'a/one'), built(ConfigMapKind, 'a/two'));
    await world.with(owned('a/child', await reference('a/one'), await reference('a/two')));
    await remove('one', 'Background');
    await world.settle();
    expect((await world.get(PodKind, 'a/child')).metadata.ownerReferences).toEqual([await reference('a/two')]);
  });

  it('goes by uid: a new owner of the same name does not count, nor one in another namespace', async () => {
    await start(built(ConfigMapKind, 'a/owner'), built(ConfigMapKind, 'b/owner'));
    await world.with(
      owned('a/stale', await reference('a/owner', { uid: 'of-before' })),
      owned('a/foreign', await reference('b/owner')),
    );
    await world.settle();
    expect([await world.exists(PodKind, 'a/stale'), await world.exists(PodKind, 'a/foreign')]).toEqual([false, false]);
  });

  it('does not judge owners of kinds that it does not know', async () => {
    await start(owned('a/child', { apiVersion: 'unknown.io/v1', kind: 'Thing', name: 'x', uid: 'y' }));
    await world.settle();
    expect(await world.exists(PodKind, 'a/child')).toBe(true);
  });

  it('lets an owner go only after the dependents that block it, when deleted in the foreground', async () => {
    await start(built(ConfigMapKind, 'a/owner'));
    const blocking = await reference('a/owner', { blockOwnerDeletion: true });
    const held = { ...owned('a/held', blocking) };
    await world.with({ ...held, object: { ...held.object, metadata: { ...held.object.metadata, finalizers: ['x.io/hold'] } } });
    await world.settle();
    await remove('owner', 'Foreground');
    await world.settle();
    const child = await world.get(PodKind, 'a/held');
    expect(child.metadata.deletionTimestamp).toBeDefined();
    expect(await world.exists(ConfigMapKind, 'a/owner')).toBe(true);
    await world.client.update(PodKind, { ...child, metadata: { ...child.metadata, finalizers: [] } });
    await world.settle();
    expect([await world.exists(PodKind, 'a/held'), await world.exists(ConfigMapKind, 'a/owner')]).toEqual([false, false]);
  });

  it('leaves dependents behind when the owner is deleted as orphaning', async () => {
    await start(built(ConfigMapKind, 'a/owner'));
    await world.with(owned('a/child', await reference('a/owner')));
    await world.settle();
    await remove('owner', 'Orphan');
    await world.settle();
    expect(await world.exists(ConfigMapKind, 'a/owner')).toBe(false);
    expect((await world.get(PodKind, 'a/child')).metadata.ownerReferences ?? []).toEqual([]);
  });
});
