import type { Clock } from '@slipway/runtime';

/** When one side of a migration has reached what, for its log. */
export interface MoveTrace {
  /** Of steps that are repeated, the last one counts. */
  note(step: string): void;
  /** Milliseconds since the first of these, and when that was: both sides' times can be compared where they share a clock. */
  times(): { readonly beganMs: number; readonly steps: Readonly<Record<string, number>> };
}

export function moveTrace(clock: Clock): MoveTrace {
  const reached = new Map<string, number>();
  return {
    note: (step) => {
      const now = clock.now();
      reached.delete(step); // the order is that of time
      reached.set(step, now);
    },
    times: () => {
      const beganMs = Math.min(...reached.values());
      return { beganMs, steps: Object.fromEntries([...reached].map(([step, ms]) => [step, ms - beganMs])) };
    },
  };
}
