import type { ObjectKey } from '@slipway/apimachinery';

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
}

export type Result = { readonly requeueAfterMs?: number };

/** Nothing more to do until a watched object changes. */
export const done: Result = {};
export const after = (requeueAfterMs: number): Result => ({ requeueAfterMs });

/**
 * Level-based and idempotent: brings the world closer to what the object with this key asks for. A thrown error is
 * retried with back-off; `TerminalError` is not.
 */
export interface Reconciler {
  reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result>;
}
