import fc from 'fast-check';
import { expect, it } from 'vitest';
import { RateBudget } from './rate-budget.ts';

it('lets nobody who waits as told take more than burst and rate', () => {
  const step = fc.record({ amount: fc.integer({ min: 0, max: 500 }), pauseMs: fc.integer({ min: 0, max: 2000 }) });
  fc.assert(
    fc.property(
      fc.array(step),
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 1, max: 1000 }),
      (steps, burst, perSecond) => {
        let nowMs = 1_000;
        const budget = new RateBudget({ burst, perSecond }, { now: () => nowMs });
        let taken = 0;
        let largest = 0;
        for (const { amount, pauseMs } of steps) {
          nowMs += pauseMs;
          const waitMs = budget.take(amount);
          expect(waitMs).toBeGreaterThanOrEqual(0);
          nowMs += waitMs;
          taken += amount;
          largest = Math.max(largest, amount);
        }
        expect(taken).toBeLessThanOrEqual(burst + ((nowMs - 1_000) * perSecond) / 1000 + largest + 1e-6);
      },
    ),
  );
});

it('does not count time that runs backwards', () => {
  let nowMs = 10_000;
  const budget = new RateBudget({ burst: 1, perSecond: 1 }, { now: () => nowMs });
  expect(budget.take(1)).toBe(0);
  nowMs = 0;
  expect(budget.take(1)).toBe(1000);
});
