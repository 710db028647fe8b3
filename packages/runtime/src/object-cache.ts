import { type KubeObject, keyOf, keyString, type ObjectKey } from '@slipway/apimachinery';

/** Read access to the cached objects of one kind. Objects are shared and frozen: copy before changing. */
export interface Lister<T extends KubeObject> {
  get(key: ObjectKey): T | undefined;
  /** All objects, or those of one namespace. */
  list(namespace?: string): readonly T[];
  /** Objects for which the named index function gave this value. Throws when there is no such index. */
  byIndex(index: string, value: string): readonly T[];
  /** Objects that have an owner reference (controlling or not) with this uid. */
  ownedBy(uid: string): readonly T[];
  readonly size: number;
}

export type IndexFunction<T> = (object: T) => readonly string[];

interface Index<T> {
  readonly valuesOf: IndexFunction<T>;
  readonly entries: Map<string, Map<string, T>>;
}

const NAMESPACE_INDEX = 'namespace';
const OWNER_INDEX = 'owner';

/** Objects of one kind by key, with indexes that are built when they are first asked for. */
export class ObjectCache<T extends KubeObject> implements Lister<T> {
  private readonly objects = new Map<string, T>();
  private readonly indexes = new Map<string, Index<T>>();

  /** Adds an index; a second one with the same name is ignored, so every user of a shared informer may declare it. */
  addIndex(name: string, valuesOf: IndexFunction<T>): void {
    if (this.indexes.has(name)) return;
    const index: Index<T> = { valuesOf, entries: new Map() };
    this.indexes.set(name, index);
    for (const [key, object] of this.objects) insert(index, key, object);
  }

  get size(): number {
    return this.objects.size;
  }

  get(key: ObjectKey): T | undefined {
    return this.objects.get(keyString(key));
  }

  keys(): IterableIterator<string> {
    return this.objects.keys();
  }

  list(namespace?: string): readonly T[] {
    if (!namespace) return [...this.objects.values()];
    this.addIndex(NAMESPACE_INDEX, (object) => [object.metadata.namespace ?? '']);
    return this.byIndex(NAMESPACE_INDEX, namespace);
  }

  ownedBy(uid: string): readonly T[] {
    this.addIndex(OWNER_INDEX, (object) => (object.metadata.ownerReferences ?? []).map((owner) => owner.uid));
    return this.byIndex(OWNER_INDEX, uid);
  }

  byIndex(index: string, value: string): readonly T[] {
    const found = this.indexes.get(index);
    if (found === undefined) throw new Error(`No index "${index}"`);
    return [...(found.entries.get(value)?.values() ?? [])];
  }

  /** Stores the object and returns the one it replaces. */
  put(object: T): T | undefined {
    const key = keyString(keyOf(object));
    const old = this.objects.get(key);
    this.objects.set(key, object);
    for (const index of this.indexes.values()) {
      if (old) remove(index, key, old);
      insert(index, key, object);
    }
    return old;
  }

  /** Drops the object and returns it. */
  delete(key: string): T | undefined {
    const old = this.objects.get(key);
    if (old === undefined) return undefined;
    this.objects.delete(key);
    for (const index of this.indexes.values()) remove(index, key, old);
    return old;
  }
}

function insert<T>(index: Index<T>, key: string, object: T): void {
  for (const value of index.valuesOf(object)) {
    let bucket = index.entries.get(value);
    if (bucket === undefined) {
      bucket = new Map();
      index.entries.set(value, bucket);
    }
    bucket.set(key, object);
  }
}

function remove<T>(index: Index<T>, key: string, object: T): void {
  for (const value of index.valuesOf(object)) {
    const bucket = index.entries.get(value);
    bucket?.delete(key);
    if (bucket?.size === 0) index.entries.delete(value);
  }
}
