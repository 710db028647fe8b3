import { randomUUID } from 'node:crypto';
import type { UnstructuredObject } from '@slipway/apimachinery';
import { memoryStoreFs, openStore, type Store } from '@slipway/store';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { storeKey } from '../watch-cache/stored-object.ts';
import { bootstrap, putValue } from './bootstrap.ts';
import { defaultClusterRoles } from './default-roles.ts';

type Role = UnstructuredObject & { rules: object[] };

describe('a default role that is there already', () => {
  const key = storeKey({ group: 'rbac.authorization.k8s.io', plural: 'clusterroles' }, '', 'system:basic-user');
  const added = { apiGroups: [''], resources: ['pods'], verbs: ['get'] };
  let store: Store;
  beforeEach(async () => {
    store = await openStore({ fs: memoryStoreFs(), now: Date.now });
    await start();
  });
  afterEach(() => store.close());

  const start = (): Promise<void> => bootstrap(store, { nowMs: Date.now, uid: randomUUID });
  const role = (): Role => JSON.parse(store.get(key)?.value.toString() ?? '{}') as Role;
  const write = (changed: Role): Promise<unknown> =>
    store.transact([], [{ type: 'put', key, value: (revision) => putValue(key, changed, revision) }]);
  const shipped = defaultClusterRoles().find(({ metadata }) => metadata.name === 'system:basic-user')?.['rules'];

  it('gets what this version adds, and keeps what an administrator has added', async () => {
    await write({ ...role(), rules: [added] });
    await start();
    expect(role().rules).toEqual([added, ...(shipped as object[])]);
  });

  it('is left alone when it is marked so', async () => {
    const { metadata } = role();
    const annotations = { 'rbac.authorization.kubernetes.io/autoupdate': 'false' };
    await write({ ...role(), metadata: { ...metadata, annotations }, rules: [] });
    await start();
    expect(role().rules).toEqual([]);
  });

  it('is not written when nothing is new', async () => {
    const { revision } = store;
    await start();
    expect(store.revision).toBe(revision);
  });
});
