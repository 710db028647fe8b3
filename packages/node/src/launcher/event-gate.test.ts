import { fakeClock, fuzz } from '@slipway/testkit';
import { expect, it } from 'vitest';
import { EventGate } from './event-gate.ts';

const LIMIT = { burst: 5, perSecond: 2 };

it('lets a bounded number through, keeps the last of each key, and tells of a flood once', async () => {
  await fuzz({
    name: 'event gate',
    inputs: 300,
    make: (random) =>
      Array.from({ length: random.below(200) }, (_, index) => ({
        key: `k${random.below(4)}`,
        event: index,
        pauseMs: random.chance(0.1) ? random.below(3000) : 0,
      })),
    run(steps) {
      const clock = fakeClock(0);
      const seen: { key: string; event: number }[] = [];
      let floods = 0;
      const gate = new EventGate<{ key: string; event: number }>({
        ...{ limit: LIMIT, clock, deliver: (event) => seen.push(event), onFlood: () => floods++ },
      });
      const last = new Map<string, number>();
      for (const { key, event, pauseMs } of steps) {
        clock.advance(pauseMs);
        gate.offer(key, { key, event });
        last.set(key, event);
        expect(seen.length).toBeLessThanOrEqual(LIMIT.burst + (clock.now() / 1000) * LIMIT.perSecond + 1e-6);
      }
      clock.advance(10_000);
      for (const [key, event] of last) expect(seen.filter((entry) => entry.key === key).at(-1)?.event).toBe(event);
      expect(floods).toBeLessThanOrEqual(1);
    },
  });
});

it('delivers nothing after its end', () => {
  const clock = fakeClock(0);
  const seen: number[] = [];
  const gate = new EventGate<number>({
    limit: { burst: 1, perSecond: 1 },
    clock,
    deliver: (n) => seen.push(n),
    onFlood: () => {},
  });
  gate.offer('a', 1);
  gate.offer('a', 2);
  gate.close();
  clock.advance(60_000);
  expect(seen).toEqual([1]);
});
