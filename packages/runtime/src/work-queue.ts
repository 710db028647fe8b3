import { type BackOffOptions, backOffDelay } from './back-off.ts';
import type { TimerClock } from './clock.ts';
import type { QueueObserver } from './queue-metrics.ts';

export interface WorkQueueDeps {
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly backOff?: BackOffOptions;
  /** Called after every change of the queue; used to find out when everything is idle. */
  readonly onActivity?: () => void;
  /** Told of each key on its way. */
  readonly observer?: QueueObserver;
}

interface Delayed {
  readonly due: number;
  readonly isRetry: boolean;
  readonly cancel: () => void;
}

const DEFAULT_BACK_OFF: BackOffOptions = { baseMs: 5, maxMs: 60_000, jitter: 0.3 };

/**
 * A queue of keys in which each key waits at most once and is worked on by at most one worker: a key added while it is
 * being worked on comes again when that ends.
 */
export class WorkQueue {
  private readonly ready = new Set<string>();
  private readonly processing = new Set<string>();
  private readonly dirty = new Set<string>();
  private readonly delayed = new Map<string, Delayed>();
  private readonly failures = new Map<string, number>();
  private readonly takers: ((key: string | undefined) => void)[] = [];
  private closed = false;

  private readonly deps: WorkQueueDeps;

  constructor(deps: WorkQueueDeps) {
    this.deps = deps;
  }

  add(key: string): void {
    if (this.closed) return;
    this.deps.onActivity?.();
    if (!this.ready.has(key) && !this.dirty.has(key)) this.note('added', key);
    if (this.processing.has(key)) {
      this.dirty.add(key);
      return;
    }
    this.offer(key);
  }

  /** Gives the key to who waits for one. */
  private offer(key: string): void {
    const taker = this.takers.shift();
    if (taker === undefined) {
      this.ready.add(key);
      return;
    }
    this.start(key);
    taker(key);
  }

  /** Adds the key after a delay; an earlier delayed add of the same key wins. */
  addAfter(key: string, delayMs: number): void {
    this.delay(key, delayMs, false);
  }

  /** Adds the key after its back-off, which grows with every call until `forget`. */
  addRateLimited(key: string): void {
    const failures = (this.failures.get(key) ?? 0) + 1;
    this.failures.set(key, failures);
    this.deps.observer?.retried();
    this.delay(key, backOffDelay(failures, this.deps.backOff ?? DEFAULT_BACK_OFF, this.deps.random), true);
  }

  /** The key was worked on well: its next failure starts with the shortest back-off again. */
  forget(key: string): void {
    this.failures.delete(key);
  }

  failuresOf(key: string): number {
    return this.failures.get(key) ?? 0;
  }

  /** Next key, or undefined when the queue is shut down. Every key taken must be given back with `done`. */
  take(): Promise<string | undefined> {
    if (this.closed) return Promise.resolve(undefined);
    const [next] = this.ready;
    if (next === undefined) return new Promise((resolve) => this.takers.push(resolve));
    this.ready.delete(next);
    this.start(next);
    return Promise.resolve(next);
  }

  done(key: string): void {
    this.processing.delete(key);
    this.note('finished', key);
    if (this.dirty.delete(key) && !this.closed) this.offer(key);
    this.deps.onActivity?.();
  }

  /** Nothing waits to be worked on now; keys may still be delayed. */
  get isIdle(): boolean {
    return this.ready.size === 0 && this.processing.size === 0;
  }

  get length(): number {
    return this.ready.size + this.processing.size;
  }

  /** Makes retries due at once, except those that already failed more than `maxFailures` times. Returns how many. */
  expediteRetries(maxFailures: number): number {
    const retries = [...this.delayed].filter(([key, entry]) => entry.isRetry && this.failuresOf(key) <= maxFailures);
    for (const [key, entry] of retries) {
      entry.cancel();
      this.delayed.delete(key);
      this.add(key);
    }
    return retries.length;
  }

  shutDown(): void {
    this.closed = true;
    for (const entry of this.delayed.values()) entry.cancel();
    this.delayed.clear();
    this.ready.clear();
    for (const taker of this.takers.splice(0)) taker(undefined);
  }

  private start(key: string): void {
    this.processing.add(key);
    this.note('taken', key);
  }

  private note(what: 'added' | 'taken' | 'finished', key: string): void {
    const { observer, clock } = this.deps;
    observer?.[what](key, clock.now());
  }

  private delay(key: string, delayMs: number, isRetry: boolean): void {
    if (this.closed) return;
    if (delayMs <= 0) {
      this.add(key);
      return;
    }
    const due = this.deps.clock.now() + delayMs;
    const earlier = this.delayed.get(key);
    if (earlier !== undefined && earlier.due <= due) return;
    earlier?.cancel();
    const cancel = this.deps.clock.setTimer(delayMs, () => {
      this.delayed.delete(key);
      this.add(key);
    });
    this.delayed.set(key, { due, isRetry, cancel });
  }
}
