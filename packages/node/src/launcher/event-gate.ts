import { RateBudget, type RateLimit, type TimerClock } from '@slipway/runtime';

export interface EventGateDeps<T> {
  readonly limit: RateLimit;
  readonly clock: TimerClock;
  readonly deliver: (event: T) => void;
  /** Events had to wait; told at most every ten minutes. */
  readonly onFlood: () => void;
}

/** Different events that may wait; beyond it the oldest is forgotten, because each is only a reason to look again. */
const MAX_WAITING = 64;
const TELL_AGAIN_MS = 10 * 60_000;

/** Lets events through at a bounded rate. Of those with the same key that must wait, the last one counts. */
export class EventGate<T> {
  private readonly deps: EventGateDeps<T>;
  private readonly budget: RateBudget;
  private readonly waiting = new Map<string, T>();
  private cancel: (() => void) | undefined;
  private toldMs = Number.NEGATIVE_INFINITY;

  constructor(deps: EventGateDeps<T>) {
    this.deps = deps;
    this.budget = new RateBudget(deps.limit, deps.clock);
  }

  offer(key: string, event: T): void {
    const waitMs = this.waiting.size > 0 ? Number.POSITIVE_INFINITY : this.budget.tryTake(1);
    if (waitMs === 0) {
      this.deps.deliver(event);
      return;
    }
    this.waiting.delete(key);
    this.waiting.set(key, event);
    const [oldest] = this.waiting.keys();
    if (this.waiting.size > MAX_WAITING && oldest !== undefined) this.waiting.delete(oldest);
    this.cancel ??= this.deps.clock.setTimer(waitMs, () => this.release());
    this.tell();
  }

  close(): void {
    this.cancel?.();
    this.waiting.clear();
  }

  private release(): void {
    this.cancel = undefined;
    for (const [key, event] of this.waiting) {
      const waitMs = this.budget.tryTake(1);
      if (waitMs > 0) {
        this.cancel = this.deps.clock.setTimer(waitMs, () => this.release());
        return;
      }
      this.waiting.delete(key);
      this.deps.deliver(event);
    }
  }

  private tell(): void {
    const now = this.deps.clock.now();
    if (now - this.toldMs < TELL_AGAIN_MS) return;
    this.toldMs = now;
    this.deps.onFlood();
  }
}
