import { describe, expect, it } from 'vitest';
import { DOMAIN_STATE, STOPPED, SUSPENDED } from '../libvirt/index.ts';
import { endByStop, endUnwatched, powerAtSuspension, powerOf } from './guest-event.ts';

const nothing = { isForced: false, isWatchdogOff: false };

describe('endByStop', () => {
  it.each([
    [STOPPED.shutdown, nothing, { phase: 'Succeeded', reason: 'it shut down' }],
    [STOPPED.saved, nothing, { phase: 'Succeeded', reason: 'it shut down' }],
    [STOPPED.migrated, nothing, { phase: 'Succeeded', reason: 'it moved', hasMoved: true }],
    [STOPPED.destroyed, nothing, { phase: 'Failed', reason: 'it was destroyed' }],
    [STOPPED.destroyed, { isForced: true, isWatchdogOff: false }, { phase: 'Failed', reason: 'it was forced off' }],
    [STOPPED.failed, nothing, { phase: 'Failed', reason: 'QEMU ended unexpectedly' }],
    [
      STOPPED.failed,
      { isForced: false, isWatchdogOff: true },
      { phase: 'Failed', reason: 'its watchdog expired and switched it off', statusReason: 'GuestWatchdogExpired' },
    ],
  ])('detail %i of %j', (detail, known, end) => {
    expect(endByStop(detail, known)).toEqual({ type: 'ended', ...end });
  });
});

describe('endUnwatched', () => {
  it.each([
    [1, { phase: 'Succeeded' }],
    [3, { phase: 'Failed' }],
    [4, { phase: 'Succeeded', hasMoved: true }],
    [5, { phase: 'Succeeded' }],
    [7, { phase: 'Succeeded' }],
    [8, { phase: 'Failed' }],
  ])('shut-off reason %i', (reason, end) => {
    expect(endUnwatched(reason)).toEqual({ type: 'ended', reason: 'while nobody watched', ...end });
  });
});

describe('what people are told of the processors', () => {
  it('is nothing while libvirt itself or a migration stops them', () => {
    expect(powerOf(DOMAIN_STATE.paused, 11)).toBeUndefined();
    expect(powerOf(DOMAIN_STATE.shutoff, 0)).toBeUndefined();
    for (const detail of [SUSPENDED.migrated, SUSPENDED.postCopy, SUSPENDED.postCopyFailed])
      expect(powerAtSuspension(detail)).toBeUndefined();
  });

  it('is why they stand, or that they run', () => {
    expect(powerOf(DOMAIN_STATE.running, 1)).toEqual({ type: 'resumed' });
    expect(powerOf(DOMAIN_STATE.paused, 5)).toEqual({ type: 'paused', reason: 'PausedIOError' });
    expect(powerAtSuspension(SUSPENDED.ioError)).toEqual({ type: 'paused', reason: 'PausedIOError' });
    expect(powerAtSuspension(0)).toEqual({ type: 'paused', reason: 'PausedByUser' });
  });
});
