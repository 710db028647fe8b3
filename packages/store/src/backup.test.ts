import { describe, expect, it } from 'vitest';
import { backupStore, restoreStore } from './backup.ts';
import { memoryStoreFs } from './memory-fs.ts';
import { type Store, openStore } from './store.ts';
import { CompactedError } from './types.ts';

const now = (): number => 1_000;
const put = (store: Store, key: string, value: string) => store.transact([], [{ type: 'put', key, value }]);
const contents = (store: Store) => store.range('').entries.map(({ key, value }) => [key, value]);

describe('backup and restore', () => {
  it('copies an open store, and goes on above every revision that was given out', async () => {
    const live = memoryStoreFs();
    const store = await openStore({ fs: live, now });
    await put(store, 'a', '1');
    await put(store, 'b', '2');
    const backup = memoryStoreFs();
    expect(await backupStore(live, backup, 1_000)).toEqual({ entries: 2, revision: 2 });
    await put(store, 'c', 'after the backup');

    const restored = memoryStoreFs();
    await restoreStore(backup, restored, { newestRevision: store.revision, nowMs: 1_000 });
    const again = await openStore({ fs: restored, now });
    expect(contents(again)).toEqual([
      ['a', '1'],
      ['b', '2'],
    ]);
    expect(again.revision).toBeGreaterThan(store.revision);
    expect(() => again.eventsAfter(store.revision)).toThrow(CompactedError);
    const next = await put(again, 'd', 'new');
    expect(next.ok && next.revision).toBe(again.revision);
    await again.close();
    expect(contents(await openStore({ fs: restored, now }))).toHaveLength(3);
  });

  it('never writes over a store', async () => {
    const fs = memoryStoreFs();
    await put(await openStore({ fs, now }), 'a', '1');
    await expect(backupStore(fs, fs, 1_000)).rejects.toThrow(/already holds/);
    await expect(restoreStore(memoryStoreFs(), memoryStoreFs(), { newestRevision: 0, nowMs: 1_000 })).rejects.toThrow(/empty/);
  });
});
