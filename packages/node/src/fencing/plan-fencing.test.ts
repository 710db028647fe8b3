import { describe, expect, it } from 'vitest';
import { deadlineText, type FencedGuest, planFencing } from './plan-fencing.ts';

const guest = (podUid: string, fenceAfterSeconds: number | undefined): FencedGuest => ({
  podUid,
  init: { pid: 7, startTicks: 8 },
  fenceAfterSeconds,
});
const base = { renewedMs: 100_000, leaseSeconds: 40, isWatched: true, guests: [guest('a', 45), guest('bound', undefined)] };

describe('planFencing', () => {
  it.each([
    [
      'promises nothing before the first renewal',
      { ...base, renewedMs: undefined, nowMs: 100_000 },
      'disarmed',
      undefined,
      undefined,
    ],
    ['promises nothing without a watchdog', { ...base, isWatched: false, nowMs: 100_000 }, 'disarmed', undefined, undefined],
    ['gives each guest time from the renewal on', { ...base, nowMs: 100_000 }, 'connected', [145_000], undefined],
    ['is connected for a lease', { ...base, nowMs: 139_999 }, 'connected', [145_000], undefined],
    ['is isolated then, and guests go on', { ...base, nowMs: 140_000 }, 'isolated', [145_000], []],
    ['ends them in time', { ...base, nowMs: 145_000 }, 'isolated', [145_000], ['a']],
  ])('%s', (_, inputs, state, deadlines, due) => {
    const plan = planFencing(inputs);
    expect(plan.state).toBe(state);
    expect(plan.state === 'disarmed' ? undefined : plan.deadlines.map(({ atMs }) => atMs)).toEqual(deadlines);
    expect(plan.state === 'isolated' ? plan.due.map(({ podUid }) => podUid) : undefined).toEqual(due);
  });

  it('writes what the watchdog reads', () => {
    const plan = planFencing({ ...base, nowMs: 100_000 });
    expect(plan.state === 'disarmed' ? '' : deadlineText(plan.deadlines)).toBe('7 8 145000 a\n');
  });
});
