import type { Store } from '@slipway/store';
import { Collection } from './collection.ts';
import { storePrefix } from './stored-object.ts';

/** The collections of all resources, fed from one subscription to the store. */
export class WatchCache {
  private readonly store: Store;
  private readonly collections = new Map<string, Collection>();
  private readonly afterChange = new Set<(revision: number) => void>();
  private readonly unsubscribe: () => void;

  constructor(store: Store) {
    this.store = store;
    this.unsubscribe = store.subscribe((events) => {
      for (const event of events) this.collections.get(event.key.slice(0, event.key.indexOf('//') + 2))?.apply(event);
      for (const listener of this.afterChange) listener(store.revision);
    });
  }

  get revision(): number {
    return this.store.revision;
  }

  /** The collection of a resource; made on first use. */
  collection(storage: { readonly group: string; readonly plural: string }): Collection {
    const prefix = storePrefix(storage);
    const known = this.collections.get(prefix);
    if (known !== undefined) return known;
    const collection = new Collection(this.store, storage);
    this.collections.set(prefix, collection);
    return collection;
  }

  all(): readonly Collection[] {
    return [...this.collections.values()];
  }

  /** Resolves true once the cache has reached `revision`, false when the time is over first. */
  waitFor(revision: number, timeoutMs: number): Promise<boolean> {
    if (this.revision >= revision) return Promise.resolve(true);
    return new Promise((resolve) => {
      const finish = (reached: boolean): void => {
        clearTimeout(timer);
        this.afterChange.delete(check);
        resolve(reached);
      };
      const check = (current: number): void => {
        if (current >= revision) finish(true);
      };
      const timer = setTimeout(() => finish(false), timeoutMs);
      this.afterChange.add(check);
    });
  }

  close(): void {
    this.unsubscribe();
  }
}
