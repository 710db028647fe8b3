const ids = new WeakMap<AbortSignal, string>();
let sequence = 0;

/** Id of the reconcile that this signal was given to; it connects its log lines with those of host commands. */
export function correlationOf(signal: AbortSignal): string | undefined {
  return ids.get(signal);
}

/**
 * A signal for one piece of work, aborted with its parent. `end` must be called, else the parent keeps it alive.
 * The id travels on the signal because async context tracking would slow down every promise of the process.
 */
export function withCorrelation(prefix: string, parent: AbortSignal): { signal: AbortSignal; id: string; end: () => void } {
  const controller = new AbortController();
  const onAbort = (): void => controller.abort(parent.reason);
  if (parent.aborted) onAbort();
  else parent.addEventListener('abort', onAbort, { once: true });
  sequence = (sequence + 1) % Number.MAX_SAFE_INTEGER;
  const id = `${prefix}-${sequence.toString(36)}`;
  ids.set(controller.signal, id);
  return { signal: controller.signal, id, end: () => parent.removeEventListener('abort', onAbort) };
}
