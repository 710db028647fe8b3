import type { Clock } from './reconciler.ts';

export interface RateLimit {
  /** What may be taken at once. */
  readonly burst: number;
  /** What comes back each second. */
  readonly perSecond: number;
}

/** A budget that grows with time. What is taken beyond it is a debt, which takes time to come back. */
export class RateBudget {
  private readonly limit: RateLimit;
  private readonly clock: Clock;
  private balance: number;
  private lastMs: number;

  constructor(limit: RateLimit, clock: Clock) {
    this.limit = limit;
    this.clock = clock;
    this.balance = limit.burst;
    this.lastMs = clock.now();
  }

  /** Takes an amount, more than there is if need be; answers after how many milliseconds the debt is paid, 0 without one. */
  take(amount: number): number {
    const now = this.clock.now();
    const { burst, perSecond } = this.limit;
    this.balance = Math.min(burst, this.balance + (Math.max(0, now - this.lastMs) * perSecond) / 1000) - amount;
    this.lastMs = now;
    return this.balance >= 0 ? 0 : (-this.balance * 1000) / perSecond;
  }
}
