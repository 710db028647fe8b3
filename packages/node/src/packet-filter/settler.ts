import { type Logger, sleep, type TimerClock } from '@slipway/runtime';

/** Changes that come within this time are one. */
const GATHER_MS = 10;
const RETRY_MS = 1000;

/** Runs one piece of work after changes: never twice at once, again when something changed meanwhile, again when it failed. */
export class Settler {
  private readonly deps: { readonly clock: TimerClock; readonly log: Logger; readonly what: string };
  private readonly work: () => Promise<void>;
  private wake: (() => void) | undefined;
  private isRequested = false;

  constructor(deps: { readonly clock: TimerClock; readonly log: Logger; readonly what: string }, work: () => Promise<void>) {
    this.deps = deps;
    this.work = work;
  }

  /** Something changed. */
  request(): void {
    this.isRequested = true;
    this.wake?.();
  }

  /** Until aborted; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, what } = this.deps;
    signal.addEventListener('abort', () => this.wake?.(), { once: true });
    while (!signal.aborted) {
      if (!this.isRequested) {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
        continue;
      }
      this.wake = undefined;
      await sleep(clock, GATHER_MS, signal).catch(() => {});
      this.isRequested = false;
      try {
        await this.work();
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ what, error: error instanceof Error ? error.message : String(error) }, 'packet filter not brought up to date');
        this.isRequested = true;
        await sleep(clock, RETRY_MS, signal).catch(() => {});
      }
    }
  }
}
