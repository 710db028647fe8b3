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

  /** Takes an amount only if it is there; answers after how many milliseconds to ask again, 0 when it was taken. */
  tryTake(amount: number): number {
    this.refill();
    if (this.balance < amount) return Math.ceil(((amount - this.balance) * 1000) / this.limit.perSecond);
    this.balance -= amount;
    return 0;
  }

  /** Takes an amount, more than there is if need be; answers after how many milliseconds the debt is paid, 0 without one. */
  take(amount: number): number {
    this.refill();
    this.balance -= amount;
    return this.balance >= 0 ? 0 : Math.ceil((-this.balance * 1000) / this.limit.perSecond);
  }

  private refill(): void {
    const now = this.clock.now();
    const { burst, perSecond } = this.limit;
    this.balance = Math.min(burst, this.balance + (Math.max(0, now - this.lastMs) * perSecond) / 1000);
    this.lastMs = now;
  }
}
