import type { Entry, Store, StoreEvent } from '@slipway/store';
import { ObjectFrame } from './object-frame.ts';
import { SortedObjects, lowerBound } from './sorted-objects.ts';
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
  private readonly order = new SortedObjects();
  private readonly listeners = new Set<CollectionListener>();

  constructor(store: Store, storage: { readonly group: string; readonly plural: string }) {
    this.store = store;
    this.prefix = storePrefix(storage);
    for (const entry of store.range(this.prefix).entries) {
      const object = storedObjectOf(entry);
      this.objects.set(entry.key, object);
      this.order.set(entry.key, object);
    }
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
    const sorted = this.order.list();
    if (!namespace) return sorted;
    const start = lowerBound(sorted, `${this.prefix}${namespace}/`);
    const end = lowerBound(sorted, `${this.prefix}${namespace}0`); // '0' follows '/'
    return sorted.slice(start, end);
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
    if (event.current === undefined) this.objects.delete(change.key);
    else this.objects.set(change.key, event.current);
    this.order.set(change.key, event.current);
    for (const listener of this.listeners) listener(event);
    event.previous?.forgetValue();
  }
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
