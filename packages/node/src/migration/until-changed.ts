import { sleep } from '@slipway/runtime';
import type { MovableGuest } from './contracts.ts';

/** A wait that takes longer looks for itself: an event may have been missed. */
const REREAD_MS = 3_000;

/** Resolves when the pod or the VMI are so; rejects when aborted. */
export async function untilChanged(
  { changed, refresh, clock }: Pick<MovableGuest, 'changed' | 'refresh' | 'clock'>,
  isSo: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const change = changed().then(() => false);
    if (isSo()) return;
    const late = new AbortController();
    const timer = sleep(clock, REREAD_MS, AbortSignal.any([signal, late.signal])).then(() => true);
    timer.catch(() => {});
    const isLate = await Promise.race([change, timer]);
    late.abort();
    if (isLate) await refresh(signal).catch(() => {});
  }
}
