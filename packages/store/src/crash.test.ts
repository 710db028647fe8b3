import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CrashFs } from './crash-fs.ts';
import { memoryStoreFs } from './memory-fs.ts';
import { type Store, openStore } from './store.ts';
import { StoreCorruptError, StoreWriteError } from './types.ts';

const now = (): number => 0;
const options = { now, history: { maxEvents: 8 }, segmentBytes: 300 };
const WRITES = 24;

/** Writes until the crash; returns what was acknowledged, key by key, and the last revision that was. */
async function writeUntilCrash(fs: CrashFs): Promise<{ acknowledged: Map<string, string>; revision: number }> {
  const acknowledged = new Map<string, string>();
  let revision = 0;
  try {
    const store = await openStore({ fs, ...options });
    for (let i = 0; i < WRITES; i++) {
      const key = `k${i % 5}`;
      const result = await store.transact([], [{ type: 'put', key, value: `value ${i}` }]);
      acknowledged.set(key, `value ${i}`);
      if (result.ok) revision = result.revision;
      if (i % 9 === 8) await store.compact();
    }
    await store.close();
  } catch {
    // the crash, or the write error it caused: nothing more is acknowledged
  }
  return { acknowledged, revision };
}

const numberIn = (text: string | undefined): number => Number(text?.split(' ')[1] ?? -1);

describe('the store after a crash', () => {
  it('has every acknowledged write, whatever step the power failed at', async () => {
    const whole = new CrashFs();
    await writeUntilCrash(whole);
    for (let step = 1; step <= whole.stepsTaken + 1; step++) {
      for (const share of [0, 0.5, 1]) {
        const fs = new CrashFs(step);
        const { acknowledged, revision } = await writeUntilCrash(fs);
        const store = await openStore({ fs: fs.afterCrash(share), ...options });
        for (const [key, value] of acknowledged) {
          // a later write may have arrived without its acknowledgement, an earlier one may not be back
          expect(numberIn(store.get(key)?.value), `step ${step}, share ${share}, ${key}`).toBeGreaterThanOrEqual(numberIn(value));
        }
        expect(store.revision).toBeGreaterThanOrEqual(revision);
        const next = await store.transact([], [{ type: 'put', key: 'again', value: 'x' }]);
        expect(next.ok && next.revision).toBe(store.revision);
        await store.close();
      }
    }
  }, 60_000);

  it('says so when bytes in the middle are damaged', async () => {
    const fs = memoryStoreFs();
    const store = await openStore({ fs, now });
    for (let i = 0; i < 5; i++) await store.transact([], [{ type: 'put', key: `k${i}`, value: 'x'.repeat(50) }]);
    await store.close();
    const [name = ''] = await fs.list();
    const file = await fs.open(name);
    await file.write(Buffer.from('damage'), 200);
    await expect(openStore({ fs, now })).rejects.toBeInstanceOf(StoreCorruptError);
  });

  it('refuses writes on a full disk and takes them again afterwards', async () => {
    const memory = memoryStoreFs();
    let isFull = false;
    const fs = {
      ...memory,
      open: async (name: string) => {
        const file = await memory.open(name);
        return {
          ...file,
          write: async (data: Uint8Array, position: number) => {
            if (!isFull) return file.write(data, position);
            await file.write(data.subarray(0, 10), position);
            throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
          },
        };
      },
    };
    const store = await openStore({ fs, now });
    const put = (key: string) => store.transact([], [{ type: 'put', key, value: 'v' }]);
    await put('a');
    isFull = true;
    const refused = await Promise.allSettled([put('b'), put('c')]);
    expect(refused.map((result) => result.status === 'rejected' && result.reason instanceof StoreWriteError)).toEqual([
      true,
      true,
    ]);
    expect([store.get('b'), store.latest('b')]).toEqual([undefined, undefined]);
    isFull = false;
    await put('d');
    await store.close();
    const again = await openStore({ fs: memory, now });
    expect(again.range('').entries.map(({ key }) => key)).toEqual(['a', 'd']);
  });
});

type Write = { type: 'put' | 'delete' | 'create' | 'replace'; key: string; value: string };

const key = fc.constantFrom('a', 'b', 'c', 'd');
const write = fc.record({
  type: fc.constantFrom('put' as const, 'delete' as const, 'create' as const, 'replace' as const),
  key,
  value: fc.string({ unit: 'binary' }),
});
const commands = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ type: fc.constant('together' as const), writes: fc.array(write, { maxLength: 5 }) }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('reopen' as const) }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('compact' as const) }) },
  ),
  { maxLength: 30 },
);
/** `SLIPWAY_STORE_LONG=1`: as many as an hour of work of a CI machine. */
const RUNS = process.env['SLIPWAY_STORE_LONG'] === '1' ? 20_000 : 60;

describe('the store and a plain map', () => {
  it('agree after any commands, and events tell the whole story once', async () => {
    await fc.assert(
      fc.asyncProperty(commands, async (list) => {
        const fs = memoryStoreFs();
        let store = await openStore({ fs, now });
        const model = new Map<string, string>();
        const story: string[] = [];
        const listen = (): void => {
          store.subscribe((events) =>
            story.push(...events.map((event) => `${event.revision} ${event.key} ${event.entry?.value}`)),
          );
        };
        listen();
        for (const command of list) {
          if (command.type === 'reopen') {
            await store.close();
            store = await openStore({ fs, now });
            listen();
          } else if (command.type === 'compact') await store.compact();
          else await Promise.all(command.writes.map((each) => run(store, model, each)));
        }
        expect(new Map(store.range('').entries.map((entry) => [entry.key, entry.value]))).toEqual(model);
        expect(store.eventsAfter(0).map((event) => `${event.revision} ${event.key} ${event.entry?.value}`)).toEqual(story);
        expect(story.map((line) => Number(line.split(' ')[0]))).toEqual(story.map((_, index) => index + 1));
        await store.close();
      }),
      { numRuns: RUNS },
    );
  }, 3_600_000);
});

/** Starts a write and changes the model as it must come out: writes take effect in the order in which they are made. */
async function run(store: Store, model: Map<string, string>, { type, key: name, value }: Write): Promise<void> {
  const isThere = model.has(name);
  const newest = store.latest(name)?.modRevision ?? 0;
  if (isThere !== newest > 0) throw new Error(`${name} is ${isThere ? 'not ' : ''}there`);
  const compares =
    type === 'create' ? [{ key: name, modRevision: 0 }] : type === 'replace' ? [{ key: name, modRevision: newest }] : [];
  const holds = type !== 'create' || !isThere;
  if (type === 'delete') model.delete(name);
  else if (holds) model.set(name, value);
  const operation = type === 'delete' ? ({ type, key: name } as const) : ({ type: 'put', key: name, value } as const);
  const { ok } = await store.transact(compares, [operation]);
  if (ok !== holds) throw new Error(`${type} of ${name} went wrong`);
}
