import { describe, expect, it } from 'vitest';
import { CrashFs, type Fault } from './crash-fs.ts';
import { faultsOf, newWitness, smallStore, work } from './crash-witness.ts';
import { openStore } from './store.ts';

const SHARES = [0, 0.5, 1];
const NAMES = ['synced', 'all'] as const;
/** `SLIPWAY_STORE_LONG=1`: every combination, some minutes; else a share of them. */
const IS_LONG = process.env['SLIPWAY_STORE_LONG'] === '1';

/** What a restart on the directory finds wrong. */
async function faultsAfter(fs: CrashFs, witness: ReturnType<typeof newWitness>): Promise<string[]> {
  const store = await openStore({ fs, ...smallStore });
  const faults = faultsOf(store, witness);
  await store.close();
  return faults;
}

async function stepsOf(plan: ConstructorParameters<typeof CrashFs>[0] = {}): Promise<number> {
  const whole = new CrashFs(plan);
  await work(whole, 'whole', newWitness());
  return whole.stepsTaken;
}

describe('events across crashes', () => {
  it('keep their revisions and their order, whatever step the power failed at', async () => {
    for (let step = 1; step <= (await stepsOf()); step++) {
      for (const share of SHARES) {
        for (const names of NAMES) {
          const witness = newWitness();
          const fs = new CrashFs(step);
          await work(fs, 'one', witness);
          const survivor = fs.afterCrash(share, {}, names);
          await work(survivor, 'two', witness); // goes on, telling the same witness: a repeated revision would differ
          expect(await faultsAfter(survivor, witness), `step ${step}, share ${share}, names ${names}`).toEqual([]);
        }
      }
    }
  }, 120_000);

  it('and when the power fails again while the store recovers', async () => {
    for (let step = 1; step <= (await stepsOf()); step += IS_LONG ? 1 : 3) {
      for (let again = 1; again <= (IS_LONG ? 30 : 12); again++) {
        const witness = newWitness();
        const first = new CrashFs(step);
        await work(first, 'one', witness);
        const second = first.afterCrash(0.5, again);
        await work(second, 'two', witness);
        expect(await faultsAfter(second.afterCrash(0.5), witness), `step ${step}, then ${again}`).toEqual([]);
      }
    }
  }, 600_000);
});

describe('a disk that fails', () => {
  const faults: readonly Fault[] = ['ENOSPC', 'EIO'];

  it.each(faults)(
    'with %s for a while loses nothing that was acknowledged, and the store goes on',
    async (fault) => {
      for (let step = 1; step <= (await stepsOf()); step += IS_LONG ? 1 : 2) {
        for (const length of IS_LONG ? [1, 2, 3, 5, 9, 20] : [1, 2, 7]) {
          const faultAt = (at: number): Fault | undefined => (at >= step && at < step + length ? fault : undefined);
          const witness = newWitness();
          const fs = new CrashFs({ faultAt });
          await work(fs, 'one', witness, 9);
          const what = `${fault} at ${step} for ${length}`;
          expect(await faultsAfter(fs.afterCrash(1), witness), what).toEqual([]);
          const survivor = fs.afterCrash(0);
          const known = witness.acknowledged.size;
          await work(survivor, 'two', witness);
          expect(witness.acknowledged.size, what).toBeGreaterThan(known);
          expect(await faultsAfter(survivor, witness), what).toEqual([]);
        }
      }
    },
    600_000,
  );

  it.each(faults)(
    'with %s, and then loses power, loses nothing either',
    async (fault) => {
      for (let step = 1; step <= (await stepsOf()); step += IS_LONG ? 1 : 5) {
        for (const length of IS_LONG ? [1, 2, 3, 5, 9] : [1, 3]) {
          const faultAt = (at: number): Fault | undefined => (at >= step && at < step + length ? fault : undefined);
          for (let more = 1; more <= (IS_LONG ? 40 : 12); more += IS_LONG ? 1 : 3) {
            for (const share of SHARES) {
              for (const names of NAMES) {
                const witness = newWitness();
                const fs = new CrashFs({ faultAt, crashAt: step + more });
                await work(fs, 'one', witness);
                const survivor = fs.afterCrash(share, {}, names);
                await work(survivor, 'two', witness);
                const what = `${fault} at ${step} for ${length}, power lost at ${step + more}, share ${share}, names ${names}`;
                expect(await faultsAfter(survivor, witness), what).toEqual([]);
              }
            }
          }
        }
      }
    },
    1_800_000,
  );
});
