import { backOffDelay, type Logger, sleep, type TimerClock } from '@slipway/runtime';

const RETRY = { baseMs: 100, maxMs: 5_000, jitter: 0.2 };

interface RepeatDeps {
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly log: Logger;
}

/** Does what must be done, however often that takes. Rejects when aborted. */
export async function repeated<T>(
  { clock, random, log }: RepeatDeps,
  what: string,
  act: () => Promise<T>,
  signal: AbortSignal = new AbortController().signal,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    signal.throwIfAborted();
    try {
      return await act();
    } catch (error) {
      signal.throwIfAborted();
      log.warn({ error: String(error), failures }, what);
      await sleep(clock, backOffDelay(failures, RETRY, random), signal);
    }
  }
}
