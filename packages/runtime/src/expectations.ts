import type { Clock } from './reconciler.ts';

interface Expected {
  creations: number;
  readonly deletions: Set<string>;
  readonly since: number;
}

/** After this long an expectation is given up: the event was missed, and the cache is right by now. */
const GIVE_UP_MS = 5 * 60_000;

/**
 * Remembers writes whose watch events have not arrived yet, so that a reconcile on a stale cache does not repeat them.
 * Keys are those of the reconciled (owning) object.
 */
export class Expectations {
  private readonly expected = new Map<string, Expected>();

  private readonly deps: { readonly clock: Clock };

  constructor(deps: { readonly clock: Clock }) {
    this.deps = deps;
  }

  expectCreations(key: string, count: number): void {
    this.entry(key).creations += count;
  }

  expectDeletion(key: string, uid: string): void {
    this.entry(key).deletions.add(uid);
  }

  /** An owned object appeared, or its creation failed. */
  creationObserved(key: string): void {
    const entry = this.expected.get(key);
    if (entry && entry.creations > 0) entry.creations--;
  }

  /** An owned object is gone, or its deletion failed. */
  deletionObserved(key: string, uid: string): void {
    this.expected.get(key)?.deletions.delete(uid);
  }

  /** True when the cache shows every write of before. */
  isSatisfied(key: string): boolean {
    const entry = this.expected.get(key);
    if (entry === undefined) return true;
    const isDone = entry.creations === 0 && entry.deletions.size === 0;
    if (!isDone && this.deps.clock.now() - entry.since < GIVE_UP_MS) return false;
    this.expected.delete(key);
    return true;
  }

  /** The owning object is gone. */
  forget(key: string): void {
    this.expected.delete(key);
  }

  private entry(key: string): Expected {
    let entry = this.expected.get(key);
    if (entry === undefined) {
      entry = { creations: 0, deletions: new Set(), since: this.deps.clock.now() };
      this.expected.set(key, entry);
    }
    return entry;
  }
}
