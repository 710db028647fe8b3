import type { StoredObject } from './stored-object.ts';

/** So many changes more than objects are never kept waiting: keys that come and go would pile up. */
const MAX_SURPLUS = 1024;

/**
 * Objects in order of key. Changes are noted and worked in when the list is next read: moving a long list for each of
 * thousands of writes that nobody lists in between would cost more than the writes.
 */
export class SortedObjects {
  private sorted: StoredObject[] = [];
  /** Newest state of the keys that changed since; undefined: gone. */
  private readonly pending = new Map<string, StoredObject | undefined>();

  /** Changes not worked in yet. */
  get waiting(): number {
    return this.pending.size;
  }

  set(key: string, object: StoredObject | undefined): void {
    this.pending.set(key, object);
    if (this.pending.size > this.sorted.length + MAX_SURPLUS) this.list();
  }

  /** Callers must not change the list; it is never changed after it was handed out. */
  list(): readonly StoredObject[] {
    if (this.pending.size === 0) return this.sorted;
    const changes = [...this.pending].sort(([a], [b]) => (a < b ? -1 : 1));
    this.pending.clear();
    this.sorted = merge(this.sorted, changes);
    return this.sorted;
  }
}

type Change = readonly [key: string, object: StoredObject | undefined];

function merge(sorted: readonly StoredObject[], changes: readonly Change[]): StoredObject[] {
  const merged: StoredObject[] = [];
  let next = 0;
  for (const [key, object] of changes) {
    const at = lowerBound(sorted, key, next);
    for (let index = next; index < at; index++) merged.push(sorted[index] as StoredObject); // index < length
    next = sorted[at]?.key === key ? at + 1 : at;
    if (object !== undefined) merged.push(object);
  }
  for (let index = next; index < sorted.length; index++) merged.push(sorted[index] as StoredObject); // index < length
  return merged;
}

/** Index of the first object whose key is not below `key`. */
export function lowerBound(objects: readonly StoredObject[], key: string, from = 0): number {
  let low = from;
  let high = objects.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    // middle < length
    if ((objects[middle] as StoredObject).key < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
