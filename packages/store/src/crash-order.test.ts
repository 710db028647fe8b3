import { describe, expect, it } from 'vitest';
import { CrashFs } from './crash-fs.ts';
import { type Store, openStore } from './store.ts';
import type { StoreEvent } from './types.ts';

const options = { now: (): number => 0, history: { maxEvents: 20 }, segmentBytes: 400 };
const SHARES = [0, 0.5, 1];

interface Witness {
  /** What watchers were told, by revision. */
  readonly seen: Map<number, string>;
  /** Revisions that writers were told. */
  readonly acknowledged: Set<number>;
}

const newWitness = (): Witness => ({ seen: new Map(), acknowledged: new Set() });
const textOf = ({ key, entry }: StoreEvent): string => `${key}=${entry?.value ?? '(gone)'}`;

/** Puts, replacements and deletions, several at a time, with compactions between, until the power fails. */
async function work(fs: CrashFs, run: string, witness: Witness): Promise<void> {
  let store: Store | undefined;
  try {
    store = await openStore({ fs, ...options });
    store.subscribe((events) => {
      for (const event of events) witness.seen.set(event.revision, textOf(event));
    });
    for (let round = 0; round < 5; round++) {
      await Promise.all([0, 1, 2].map((n) => write(store as Store, `${run}.${round}.${n}`, round + n, witness)));
      if (round % 2 === 1) await store.compact();
    }
    await store.close();
  } catch {
    // the crash, or the write errors it caused
  }
}

async function write(store: Store, value: string, n: number, { acknowledged }: Witness): Promise<void> {
  const key = `k${n % 4}`;
  const result = await store.transact(
    [],
    n % 5 === 4
      ? [{ type: 'delete', key }]
      : [
          { type: 'put', key, value },
          { type: 'put', key: `${key}-twin`, value },
        ],
  );
  if (result.ok) acknowledged.add(result.revision);
}

/** A watch that begins anywhere in the window gets each change once, in order, as it was told before the crash. */
function checkWindow(store: Store, { seen, acknowledged }: Witness, what: string): void {
  const events = store.eventsAfter(store.compactedRevision);
  const expected = Array.from({ length: events.length }, (_, index) => store.compactedRevision + 1 + index);
  expect(
    events.map(({ revision }) => revision),
    what,
  ).toEqual(expected);
  expect(store.compactedRevision + events.length, what).toBe(store.revision);
  for (const event of events) {
    const told = seen.get(event.revision);
    if (told !== undefined) expect(textOf(event), `${what}, revision ${event.revision}`).toBe(told);
  }
  const newest = Math.max(0, ...seen.keys(), ...acknowledged);
  expect(store.revision, what).toBeGreaterThanOrEqual(newest);
  for (const key of store.range('').entries.map((entry) => entry.key)) {
    const twin = store.get(key.endsWith('-twin') ? key : `${key}-twin`);
    if (!key.endsWith('-twin')) expect(twin, `${what}: half a transaction`).toBeDefined();
  }
}

describe('events across crashes', () => {
  it('keep their revisions and their order, whatever step the power failed at', async () => {
    const whole = new CrashFs();
    await work(whole, 'whole', newWitness());
    for (let step = 1; step <= whole.stepsTaken; step++) {
      for (const share of SHARES) {
        const witness = newWitness();
        const fs = new CrashFs(step);
        await work(fs, 'one', witness);
        const survivor = fs.afterCrash(share);
        await work(survivor, 'two', witness); // goes on, telling the same witness: a repeated revision would differ
        const store = await openStore({ fs: survivor, ...options });
        checkWindow(store, witness, `step ${step}, share ${share}`);
        await store.close();
      }
    }
  }, 60_000);

  it('and when the power fails again while the store recovers', async () => {
    const whole = new CrashFs();
    await work(whole, 'whole', newWitness());
    for (let step = 1; step <= whole.stepsTaken; step += 3) {
      for (let again = 1; again <= 12; again++) {
        const witness = newWitness();
        const first = new CrashFs(step);
        await work(first, 'one', witness);
        const second = first.afterCrash(0.5, again);
        await work(second, 'two', witness);
        const store = await openStore({ fs: second.afterCrash(0.5), ...options });
        checkWindow(store, witness, `step ${step}, then ${again}`);
        await store.close();
      }
    }
  }, 60_000);
});
