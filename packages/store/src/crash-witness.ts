import type { CrashFs } from './crash-fs.ts';
import { Crash } from './crash-fs.ts';
import { type Store, type StoreOptions, openStore } from './store.ts';
import { type StoreEvent, StoreWriteError } from './types.ts';

/** Small limits, so that a short run sees rotations, snapshots and forgotten history. Only for tests. */
export const smallStore: Omit<StoreOptions, 'fs'> = { now: () => 0, history: { maxEvents: 20 }, segmentBytes: 400 };

/** What was told to the outside while a store worked, crashed and worked again. */
export interface Witness {
  /** What watchers were told, by revision. */
  readonly seen: Map<number, string>;
  /** Revisions that writers were told. */
  readonly acknowledged: Set<number>;
}

export const newWitness = (): Witness => ({ seen: new Map(), acknowledged: new Set() });
const textOf = ({ key, entry }: StoreEvent): string => `${key}=${entry?.value ?? '(gone)'}`;

/** Puts, replacements and deletions, several at a time, with compactions between. A full or bad disk does not end it. */
export async function work(fs: CrashFs, run: string, witness: Witness, rounds = 5): Promise<void> {
  let store: Store | undefined;
  try {
    store = await openStore({ fs, ...smallStore });
    store.subscribe((events) => {
      for (const event of events) witness.seen.set(event.revision, textOf(event));
    });
    for (let round = 0; round < rounds; round++) {
      await Promise.all([0, 1, 2].map((n) => write(store as Store, `${run}.${round}.${n}`, round + n, witness)));
      if (round % 2 === 1) await store.compact().catch(throwCrash);
    }
    await store.close();
  } catch {
    // the crash, or an error while the store was opened
  }
}

function throwCrash(error: unknown): void {
  if (error instanceof Crash || (error instanceof StoreWriteError && error.cause instanceof Crash)) throw error;
}

async function write(store: Store, value: string, n: number, { acknowledged }: Witness): Promise<void> {
  const key = `k${n % 4}`;
  const result = await store
    .transact(
      [],
      n % 5 === 4
        ? [
            { type: 'delete', key },
            { type: 'delete', key: `${key}-twin` },
          ]
        : [
            { type: 'put', key, value },
            { type: 'put', key: `${key}-twin`, value },
          ],
    )
    .catch(throwCrash);
  if (result?.ok === true) acknowledged.add(result.revision);
}

/**
 * What is wrong with a store after all that: a watch that begins anywhere in the window must get each change once, in
 * order, as it was told before; nothing acknowledged may be missing; transactions are whole. Empty when all is well.
 */
export function faultsOf(store: Store, { seen, acknowledged }: Witness): string[] {
  const faults: string[] = [];
  const events = store.eventsAfter(store.compactedRevision);
  for (const [index, event] of events.entries()) {
    const expected = store.compactedRevision + 1 + index;
    if (event.revision !== expected) faults.push(`revision ${event.revision} where ${expected} belongs`);
    const told = seen.get(event.revision);
    if (told !== undefined && told !== textOf(event)) faults.push(`${event.revision} was ${told}, is ${textOf(event)}`);
  }
  if (store.compactedRevision + events.length !== store.revision) faults.push(`the window ends before ${store.revision}`);
  const newest = Math.max(0, ...seen.keys(), ...acknowledged);
  if (store.revision < newest) faults.push(`revision ${newest} was told, ${store.revision} is there`);
  for (const { key, value } of store.range('').entries) {
    const twin = store.get(key.endsWith('-twin') ? key.slice(0, -'-twin'.length) : `${key}-twin`);
    if (twin?.value !== value) faults.push(`half a transaction: ${key}`);
  }
  return faults;
}
