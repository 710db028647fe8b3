import type { StoreEvent } from './types.ts';

export interface HistoryLimits {
  readonly maxEvents: number;
  readonly maxAgeMs: number;
}

/** The latest changes in order of revision, so that a watch can begin in the past. */
export class History {
  private events: StoreEvent[];
  private head = 0;
  private compacted: number;
  private readonly limits: HistoryLimits;

  constructor(events: StoreEvent[], compactedRevision: number, limits: HistoryLimits) {
    this.events = events;
    this.compacted = compactedRevision;
    this.limits = limits;
  }

  /** Changes up to and including this revision are forgotten. */
  get compactedRevision(): number {
    return this.compacted;
  }

  append(event: StoreEvent): void {
    this.events.push(event);
    this.trim(event.timeMs);
  }

  /** Forgets what exceeds the limits: beyond the count, or older than the age. */
  trim(nowMs: number): void {
    const { maxEvents, maxAgeMs } = this.limits;
    for (;;) {
      const oldest = this.events[this.head];
      if (oldest === undefined) break;
      if (this.events.length - this.head <= maxEvents && nowMs - oldest.timeMs <= maxAgeMs) break;
      this.compacted = oldest.revision;
      this.head++;
    }
    if (this.head > 1024 && this.head * 2 > this.events.length) {
      this.events = this.events.slice(this.head);
      this.head = 0;
    }
  }

  /** Events after `revision`; the caller has checked it against `compactedRevision`. Revisions have no gaps. */
  after(revision: number): readonly StoreEvent[] {
    const first = this.events[this.head];
    if (first === undefined) return [];
    return this.events.slice(this.head + Math.max(0, revision + 1 - first.revision));
  }
}
