import { describe, expect, it } from 'vitest';
import { loopWatch } from './loop-watch.ts';

function world() {
  const state = { now: 0, tick: undefined as (() => void) | undefined };
  const watch = loopWatch({
    now: () => state.now,
    every: (_ms, tick) => {
      state.tick = tick;
      return () => (state.tick = undefined);
    },
  });
  return {
    watch,
    isLooking: () => state.tick !== undefined,
    pass: (ms: number) => {
      state.now += ms;
      state.tick?.();
    },
  };
}

describe('watching the event loop', () => {
  it('sees a stall while there is work', () => {
    const { watch, pass } = world();
    watch.note();
    pass(20);
    pass(120);
    expect(watch.delays.max / 1e6).toBeCloseTo(100, 0);
  });

  it('sleeps when there is none, and takes the pause for no stall', () => {
    const { watch, pass, isLooking } = world();
    watch.note();
    pass(20);
    expect(isLooking()).toBe(true);
    for (let ms = 0; ms < 2_100; ms += 20) pass(20);
    expect(isLooking()).toBe(false);
    pass(60_000);
    watch.note();
    pass(20);
    expect(watch.delays.max / 1e6).toBeLessThan(1);
    watch.close();
    expect(isLooking()).toBe(false);
  });
});
