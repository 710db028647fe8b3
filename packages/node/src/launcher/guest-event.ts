import { DOMAIN_STATE, type DomainEvent, SHUTOFF_MIGRATED, STOPPED, SUSPENDED } from '../libvirt/index.ts';

/** What a session tells of its guest. */
export type GuestEvent =
  | {
      readonly type: 'ended';
      readonly phase: 'Succeeded' | 'Failed';
      readonly reason: string;
      /** For `status.reason`, when there is a word for it. */
      readonly statusReason?: string;
      /** libvirt says that it goes on elsewhere. */
      readonly hasMoved?: boolean;
    }
  | { readonly type: 'paused'; readonly reason: 'PausedByUser' | 'PausedIOError' }
  | { readonly type: 'resumed' }
  | { readonly type: 'agent'; readonly connected: boolean }
  | { readonly type: 'device'; readonly event: DomainEvent }
  /** The guest goes beyond what a guest may do: for people. */
  | { readonly type: 'trouble'; readonly reason: string; readonly message: string };

/** Whether the processors run, as far as people are concerned. */
export type PowerEvent = Extract<GuestEvent, { readonly type: 'paused' | 'resumed' }>;

/** That the guest has ended, and how. */
export type EndEvent = Extract<GuestEvent, { readonly type: 'ended' }>;

/** Domain shut-off reasons after which the guest counts as ended well. */
const CLEAN_SHUTOFF: readonly number[] = [1, 5, 7]; // shutdown, saved, from snapshot
/** QEMU stands still because it has sent everything, or is just sending. */
const MOVING: readonly number[] = [SUSPENDED.migrated, SUSPENDED.postCopy, SUSPENDED.postCopyFailed];
const [PAUSED_USER, PAUSED_IO_ERROR] = [1, 5];
/** virDomainEventCrashedDetailType: the guest said so by its panic device. */
const CRASHED_PANICKED = 0;
/** `status.reason` of an instance whose guest has panicked. */
const GUEST_PANICKED = 'GuestPanicked';
/** `status.reason` of an instance that its watchdog has switched off. */
const WATCHDOG_EXPIRED = 'GuestWatchdogExpired';

/** Undefined in between: libvirt itself has stopped the processors for a moment, or the guest sleeps. Pure. */
export function powerOf(state: number, reason: number): PowerEvent | undefined {
  if (state === DOMAIN_STATE.running || state === DOMAIN_STATE.blocked) return { type: 'resumed' };
  if (state !== DOMAIN_STATE.paused) return undefined;
  if (reason === PAUSED_IO_ERROR) return { type: 'paused', reason: 'PausedIOError' };
  return reason === PAUSED_USER ? { type: 'paused', reason: 'PausedByUser' } : undefined;
}

/** What people are told of a `suspended` event; undefined while the guest moves. Pure. */
export function powerAtSuspension(detail: number): PowerEvent | undefined {
  if (MOVING.includes(detail)) return undefined;
  return { type: 'paused', reason: detail === SUSPENDED.ioError ? 'PausedIOError' : 'PausedByUser' };
}

/** What is known of a guest beside what libvirt says of its end. */
export interface BeforeEnd {
  /** We forced it off; then it did not end by itself. */
  readonly isForced: boolean;
  /** Its watchdog has switched it off: QEMU exits right after saying so. */
  readonly isWatchdogOff: boolean;
}

/** The end that a `stopped` event means. Pure. */
export function endByStop(detail: number, { isForced, isWatchdogOff }: BeforeEnd): EndEvent {
  if (detail === STOPPED.migrated) return { ...endedWell('it moved'), hasMoved: true };
  if (detail === STOPPED.shutdown || detail === STOPPED.saved || detail === STOPPED.fromSnapshot)
    return endedWell('it shut down');
  if (detail === STOPPED.destroyed) return endedBadly(isForced ? 'it was forced off' : 'it was destroyed');
  if (isWatchdogOff) return { ...endedBadly('its watchdog expired and switched it off'), statusReason: WATCHDOG_EXPIRED };
  return endedBadly('QEMU ended unexpectedly');
}

/** The end that a `crashed` event means. Pure. */
export const endByCrash = (detail: number): EndEvent =>
  detail === CRASHED_PANICKED ? { ...endedBadly('its kernel panicked'), statusReason: GUEST_PANICKED } : endedBadly('it crashed');

/** The end of a guest that is found to be off for this reason, without an event. Pure. */
export function endUnwatched(shutoffReason: number): EndEvent {
  const reason = 'while nobody watched';
  if (shutoffReason === SHUTOFF_MIGRATED) return { ...endedWell(reason), hasMoved: true };
  return CLEAN_SHUTOFF.includes(shutoffReason) ? endedWell(reason) : endedBadly(reason);
}

const endedWell = (reason: string): EndEvent => ({ type: 'ended', phase: 'Succeeded', reason });

/** An end that no guest wanted. */
export const endedBadly = (reason: string): EndEvent => ({ type: 'ended', phase: 'Failed', reason });
