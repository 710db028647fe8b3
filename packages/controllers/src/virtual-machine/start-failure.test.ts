import type { VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { nextStartFailure, startBackoffMs, startDelaySeconds } from './start-failure.ts';

const NOW = Date.parse('2026-05-01T12:00:00Z');
const ended = (uid: string, phases: string[]): VirtualMachineInstance => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachineInstance',
  metadata: { name: 'web', uid },
  spec: { domain: { devices: {} } },
  status: { phase: phases.at(-1) ?? '', phaseTransitionTimestamps: phases.map((phase) => ({ phase })) },
});
const input = {
  previous: undefined,
  runStrategy: 'Always',
  vmi: undefined,
  isStopRequested: false,
  nowMs: NOW,
  random: 0,
} as const;

describe('startDelaySeconds', () => {
  it.each([
    [1, 0, 10],
    [1, 0.99, 14],
    [2, 0, 40],
    [3, 0, 90],
    [6, 0, 300],
    [20, 0.5, 300],
  ])('after %d failures, random %d: %d s', (count, random, seconds) => {
    expect(startDelaySeconds(count, random)).toBe(seconds);
  });
});

describe('nextStartFailure', () => {
  const failure = { consecutiveFailCount: 1, lastFailedVMIUID: 'a', retryAfterTimestamp: '2026-05-01T12:00:10Z' };

  it('counts each instance that never ran once', () => {
    const first = nextStartFailure({ ...input, vmi: ended('a', ['Scheduling', 'Failed']) });
    expect(first).toEqual(failure);
    const again = nextStartFailure({ ...input, previous: first, vmi: ended('a', ['Scheduling', 'Failed']), nowMs: NOW + 60_000 });
    expect(again).toEqual(failure);
    const second = nextStartFailure({ ...input, previous: first, vmi: ended('b', ['Failed']) });
    expect(second).toMatchObject({ consecutiveFailCount: 2, lastFailedVMIUID: 'b', retryAfterTimestamp: '2026-05-01T12:00:40Z' });
  });

  it('is kept while a new try runs and forgotten once a guest has run or the strategy does not retry', () => {
    expect(nextStartFailure({ ...input, previous: failure })).toBe(failure);
    expect(nextStartFailure({ ...input, previous: failure, vmi: ended('b', ['Scheduling']) })).toBe(failure);
    expect(nextStartFailure({ ...input, previous: failure, vmi: ended('b', ['Running', 'Failed']) })).toBeUndefined();
    expect(nextStartFailure({ ...input, previous: failure, runStrategy: 'Halted' })).toBeUndefined();
  });

  it('does not count an instance that was stopped on request', () => {
    expect(nextStartFailure({ ...input, vmi: ended('a', ['Failed']), isStopRequested: true })).toBeUndefined();
  });

  it('tells how long to wait', () => {
    expect(startBackoffMs(failure, NOW)).toBe(10_000);
    expect(startBackoffMs(failure, NOW + 11_000)).toBe(0);
    expect(startBackoffMs(undefined, NOW)).toBe(0);
  });
});
