import { describe, expect, it } from 'vitest';
import { checkStore } from './check.ts';
import { memoryStoreFs } from './memory-fs.ts';
import { openStore } from './store.ts';

const now = (): number => 1_000;

describe('Store', () => {
  it('keeps what it acknowledged', async () => {
    const fs = memoryStoreFs();
    const store = await openStore({ fs, now });
    await Promise.all([1, 2, 3].map((i) => store.transact([], [{ type: 'put', key: `k${i}`, value: `v${i}` }])));
    await store.transact([], [{ type: 'delete', key: 'k2' }]);
    await store.close();

    const again = await openStore({ fs, now });
    expect(again.range('k').entries.map(({ key, value }) => [key, value])).toEqual([
      ['k1', 'v1'],
      ['k3', 'v3'],
    ]);
    expect(again.revision).toBe(4);
    expect(again.eventsAfter(0).map(({ revision }) => revision)).toEqual([1, 2, 3, 4]);
  });

  it('lets one of two writers with the same expectation win', async () => {
    const store = await openStore({ fs: memoryStoreFs(), now });
    const create = (value: string) => store.transact([{ key: 'a', modRevision: 0 }], [{ type: 'put', key: 'a', value }]);
    const results = await Promise.all([create('x'), create('y')]);
    expect(results.map(({ ok }) => ok)).toEqual([true, false]);
    expect(store.get('a')?.value).toBe('x');
  });

  it('gives the revision to the value', async () => {
    const store = await openStore({ fs: memoryStoreFs(), now });
    await store.transact([], [{ type: 'put', key: 'a', value: (revision) => ({ value: `r${revision}` }) }]);
    expect(store.get('a')?.value).toBe('r1');
  });

  it('snapshots, forgets history beyond the limit, and comes back', async () => {
    const fs = memoryStoreFs();
    const store = await openStore({ fs, now, history: { maxEvents: 5 }, segmentBytes: 400 });
    for (let i = 0; i < 60; i++) await store.transact([], [{ type: 'put', key: `k${i % 7}`, value: `v${i}` }]);
    await store.compact();
    expect(() => store.eventsAfter(10)).toThrow('older than the history');
    const expected = store.range('').entries;
    await store.close();
    expect((await fs.list()).length).toBeLessThan(10);
    expect((await checkStore(fs)).problems).toEqual([]);
    const again = await openStore({ fs, now });
    expect(again.range('').entries).toEqual(expected);
    expect(again.revision).toBe(60);
  });
});
