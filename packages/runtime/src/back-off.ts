export interface BackOffOptions {
  readonly baseMs: number;
  readonly maxMs: number;
  /** Part of the delay that is random, 0 to 1. */
  readonly jitter: number;
}

/** Delay before attempt `failures` + 1: doubles from `baseMs` to `maxMs`, with a random part taken off. */
export function backOffDelay(failures: number, options: BackOffOptions, random: () => number): number {
  const full = Math.min(options.maxMs, options.baseMs * 2 ** Math.min(failures - 1, 40));
  return full * (1 - options.jitter * random());
}
