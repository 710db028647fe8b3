import { describe, expect, it } from 'vitest';
import { checkStore } from './check.ts';
import { memoryStoreFs } from './memory-fs.ts';
import { openStore } from './store.ts';
import type { StoreFs } from './store-fs.ts';

const now = (): number => 1_000;

/** A disk that is full for the writes that `refuses` names; some bytes of each arrive. */
function failingFs(fs: StoreFs, refuses: (name: string) => boolean): StoreFs {
  return {
    ...fs,
    async open(name) {
      const file = await fs.open(name);
      return {
        ...file,
        async write(data, position) {
          if (!refuses(name)) return file.write(data, position);
          await file.write(data.subarray(0, 7), position);
          throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
        },
      };
    },
  };
}

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

  it.each([0, 1, 2, 3, 4, 5])('finishes a write made %i turns after another one was told', async (turns) => {
    const store = await openStore({ fs: memoryStoreFs(), now });
    const put = (key: string) => store.transact([], [{ type: 'put', key, value: 'v' }]);
    const followed = new Promise<unknown>((resolve) => {
      store.subscribe(([event]) => {
        if (event?.key !== 'first') return;
        let told = Promise.resolve();
        for (let turn = 0; turn < turns; turn++) told = told.then(() => undefined);
        void told.then(() => put('second')).then(resolve);
      });
    });
    await put('first');
    await followed; // nobody else writes: no other flush could carry it
    expect(store.get('second')?.value).toBe('v');
  });

  it('lets a create through that met one which could not be written', async () => {
    const memory = memoryStoreFs();
    let failures = 0;
    const fs = failingFs(memory, (name) => name.startsWith('log-') && failures-- > 0);
    const store = await openStore({ fs, now });
    const create = (value: string) => store.transact([{ key: 'a', modRevision: 0 }], [{ type: 'put', key: 'a', value }]);
    failures = 1;
    const results = await Promise.allSettled([create('lost'), create('kept')]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
    expect(store.get('a')?.value).toBe('kept');
    await store.close();
    expect((await openStore({ fs: memory, now })).eventsAfter(0).map(({ entry }) => entry?.value)).toEqual(['kept']);
  });

  it('leaves nothing of a snapshot for which there was no room', async () => {
    const memory = memoryStoreFs();
    let isFull = true;
    const store = await openStore({ fs: failingFs(memory, (name) => isFull && name.endsWith('.tmp')), now });
    await store.transact([], [{ type: 'put', key: 'a', value: 'v' }]);
    await store.compact();
    expect((await memory.list()).map((name) => name.split('-')[0])).toEqual(['log', 'log']);
    isFull = false;
    await store.transact([], [{ type: 'put', key: 'b', value: 'v' }]);
    await store.compact();
    await store.close();
    expect((await memory.list()).some((name) => name.startsWith('snapshot-'))).toBe(true);
    expect((await checkStore(memory)).problems).toEqual([]);
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
