import type { ProcessRecord } from '@slipway/hostapi';

/** A guest of this node, as far as fencing is concerned. */
export interface FencedGuest {
  readonly podUid: string;
  /** PID 1 of its sandbox: everything of the guest ends with it. */
  readonly init: ProcessRecord;
  /** Undefined: it ends with its node alone, because it could run nowhere else or shall not. */
  readonly fenceAfterSeconds: number | undefined;
}

/** When a guest must have ended unless the lease is renewed before; milliseconds since the machine started. */
export interface Deadline {
  readonly podUid: string;
  readonly init: ProcessRecord;
  readonly atMs: number;
}

export type FencingState =
  /** The watchdog does not run or has been told to stand down: nothing is promised. */
  | { readonly state: 'disarmed' }
  /** The server has heard of this node within the time of a lease. */
  | { readonly state: 'connected'; readonly deadlines: readonly Deadline[] }
  /** It has not: it may call this node lost by now. Guests go on until their deadlines. */
  | { readonly state: 'isolated'; readonly deadlines: readonly Deadline[]; readonly due: readonly Deadline[] };

export interface FencingInputs {
  /** Since the machine started: a wall clock may be set. */
  readonly nowMs: number;
  /** When the last request that renewed the lease was sent; undefined before the first one. */
  readonly renewedMs: number | undefined;
  readonly leaseSeconds: number;
  readonly isWatched: boolean;
  readonly guests: readonly FencedGuest[];
}

/** Decides what holds for the guests of this node now. Pure. */
export function planFencing({ nowMs, renewedMs, leaseSeconds, isWatched, guests }: FencingInputs): FencingState {
  if (!isWatched || renewedMs === undefined) return { state: 'disarmed' };
  const deadlines = guests.flatMap(({ podUid, init, fenceAfterSeconds }): Deadline[] =>
    fenceAfterSeconds === undefined ? [] : [{ podUid, init, atMs: renewedMs + fenceAfterSeconds * 1000 }],
  );
  if (nowMs - renewedMs < leaseSeconds * 1000) return { state: 'connected', deadlines };
  return { state: 'isolated', deadlines, due: deadlines.filter(({ atMs }) => atMs <= nowMs) };
}

/** What the watchdog reads: pid, its start in clock ticks, deadline and pod, a line each. */
export const deadlineText = (deadlines: readonly Deadline[]): string =>
  deadlines.map(({ podUid, init, atMs }) => `${init.pid} ${init.startTicks} ${Math.floor(atMs)} ${podUid}\n`).join('');
