import { bundledCustomResourceDefinitions } from '@slipway/api';
import { cloneJson } from '@slipway/apimachinery';
import { memoryStoreFs, openStore } from '@slipway/store';
import { describe, expect, it } from 'vitest';
import { storeKey } from '../watch-cache/stored-object.ts';
import { storedObjectOf } from '../watch-cache/collection.ts';
import { checkCrdShape } from './crd-shape.ts';
import { CRD_GROUP, CRD_PLURAL } from './crd-types.ts';
import { installCrds } from './install-crds.ts';

const bundled = bundledCustomResourceDefinitions();
const cases = bundled.map((crd) => [crd.metadata.name ?? '', crd] as const);

describe('bundled CustomResourceDefinitions', () => {
  it.each(cases)('need no check at each start: %s', (_name, crd) => {
    const checked = cloneJson(crd);
    checkCrdShape(checked as unknown as Record<string, unknown>);
    expect(checked).toStrictEqual(crd);
  });

  it('are in memory what they are on disk', async () => {
    const store = await openStore({ fs: memoryStoreFs(), now: () => 0 });
    await installCrds(store, bundled, { nowMs: () => 0, uid: () => 'u' });
    for (const [name] of cases) {
      const entry = store.get(storeKey({ group: CRD_GROUP, plural: CRD_PLURAL }, '', name));
      expect(storedObjectOf(entry!).object).toStrictEqual(JSON.parse(entry!.value));
    }
  });

  it('stay as they were given', async () => {
    const before = JSON.stringify(bundledCustomResourceDefinitions());
    const given = bundledCustomResourceDefinitions();
    const store = await openStore({ fs: memoryStoreFs(), now: () => 0 });
    await installCrds(store, given, { nowMs: () => 0, uid: () => 'u' });
    expect(JSON.stringify(given)).toBe(before);
  });
});
