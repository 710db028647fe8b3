import type { Entry, Store, StoreEvent } from '@slipway/store';
import { ObjectFrame } from './object-frame.ts';
import { StoredObject, serializeObject, storePrefix } from './stored-object.ts';

/** A change of one object: `previous` is absent on creation, `current` on deletion. */
export class CollectionEvent {
  readonly revision: number;
  readonly current: StoredObject | undefined;
  readonly previous: StoredObject | undefined;
  private departedObject: StoredObject | undefined;
  private readonly frames: ObjectFrame[] = [];

  constructor({ revision, entry, previous }: StoreEvent) {
    this.revision = revision;
    this.current = entry && storedObjectOf(entry);
    this.previous = previous && storedObjectOf(previous);
  }

  /** What a watcher is told who loses sight of the object: the old content carrying the revision of this event. */
  get departed(): StoredObject {
    if (this.previous === undefined) throw new Error('Nothing departs with a creation');
    this.departedObject ??= atRevision(this.previous, this.revision);
    return this.departedObject;
  }

  /** The frame of this event with `stored` (a view of the object) in it; the same one for every watcher. */
  frame(type: ObjectFrame['type'], stored: StoredObject): ObjectFrame {
    let frame = this.frames.find((known) => known.type === type && known.source === stored);
    if (frame === undefined) {
      frame = new ObjectFrame(type, stored);
      this.frames.push(frame);
    }
    return frame;
  }
}

export type CollectionListener = (event: CollectionEvent) => void;

/** All stored objects of one resource in order of key, kept current by the store's changes: reads never touch the disk. */
export class Collection {
  readonly prefix: string;
  private readonly store: Store;
  private readonly objects = new Map<string, StoredObject>();
  /** Sorted; rebuilt when it is next read after objects came or went. */
  private sorted: StoredObject[] | undefined;
  private readonly listeners = new Set<CollectionListener>();

  constructor(store: Store, storage: { readonly group: string; readonly plural: string }) {
    this.store = store;
    this.prefix = storePrefix(storage);
    for (const entry of store.range(this.prefix).entries) this.objects.set(entry.key, storedObjectOf(entry));
  }

  /** Plural and group, as `kubectl` names it. */
  get resource(): string {
    const [group = '', plural = ''] = this.prefix.split('/');
    return group === '' ? plural : `${plural}.${group}`;
  }

  get size(): number {
    return this.objects.size;
  }

  get listenerCount(): number {
    return this.listeners.size;
  }

  get(key: string): StoredObject | undefined {
    return this.objects.get(key);
  }

  /** In order of key, of one namespace when given. Callers must not change the list. */
  list(namespace?: string): readonly StoredObject[] {
    this.sorted ??= [...this.objects.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
    if (!namespace) return this.sorted;
    const start = lowerBound(this.sorted, `${this.prefix}${namespace}/`);
    const end = lowerBound(this.sorted, `${this.prefix}${namespace}0`); // '0' follows '/'
    return this.sorted.slice(start, end);
  }

  /** What `list` gave at an older revision. Throws CompactedError when that is beyond the history. */
  listAt(revision: number, namespace?: string): readonly StoredObject[] {
    const undone = this.store.eventsAfter(revision).filter(({ key }) => key.startsWith(this.prefix));
    if (undone.length === 0) return this.list(namespace);
    const objects = new Map(this.objects);
    for (const { key, previous } of undone.toReversed()) {
      if (previous === undefined) objects.delete(key);
      else objects.set(key, storedObjectOf(previous));
    }
    const scope = namespace ? `${this.prefix}${namespace}/` : this.prefix;
    return [...objects.values()].filter(({ key }) => key.startsWith(scope)).sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** Changes after `revision`, oldest first. Throws CompactedError. */
  eventsAfter(revision: number): CollectionEvent[] {
    return this.store
      .eventsAfter(revision)
      .filter(({ key }) => key.startsWith(this.prefix))
      .map((event) => new CollectionEvent(event));
  }

  subscribe(listener: CollectionListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Takes over a durable change; only the cache's dispatcher calls this. */
  apply(change: StoreEvent): void {
    const event = new CollectionEvent(change);
    if (event.current === undefined) {
      this.objects.delete(change.key);
      this.sorted = undefined;
    } else this.replace(event.current);
    for (const listener of this.listeners) listener(event);
    event.previous?.forgetValue();
  }

  private replace(object: StoredObject): void {
    const isNew = !this.objects.has(object.key);
    this.objects.set(object.key, object);
    if (this.sorted === undefined) return;
    const at = lowerBound(this.sorted, object.key);
    if (isNew) this.sorted.splice(at, 0, object);
    else this.sorted[at] = object;
  }
}

function lowerBound(objects: readonly StoredObject[], key: string): number {
  let low = 0;
  let high = objects.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((objects[middle] as StoredObject).key < key)
      low = middle + 1; // middle < length
    else high = middle;
  }
  return low;
}

/** The object of an entry; entries written by this process carry it already. */
export function storedObjectOf(entry: Entry): StoredObject {
  const { attachment } = entry;
  if (attachment instanceof StoredObject && attachment.revision === entry.modRevision) return attachment;
  return new StoredObject(entry.key, entry.modRevision, entry.value);
}

function atRevision(stored: StoredObject, revision: number): StoredObject {
  const { object } = stored;
  const copy = { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
  return new StoredObject(stored.key, revision, serializeObject(copy));
}
