import { type KubeObject, keyOf, keyString, type ObjectKey } from '@slipway/apimachinery';
import type { Informer } from '@slipway/runtime';

const MAX_GONE = 1_000;

const revisionOf = (object: KubeObject): number => Number(object.metadata.resourceVersion ?? 0);

/**
 * A lister that also knows what this controller has just written and the cache has not seen yet. Without it a reconcile
 * between a write and its watch event would repeat the write, or run into a conflict.
 */
export class FreshObjects<T extends KubeObject> {
  private readonly written = new Map<string, T>();
  /** Deleted lately: an answer that arrives after its own deletion event must not bring the object back. */
  private readonly gone = new Set<string>();

  private readonly informer: Informer<T>;

  constructor(informer: Informer<T>) {
    this.informer = informer;
    informer.addHandler(({ type, object }) => {
      if (type === 'deleted') this.noteDeleted(object.metadata.uid ?? '');
      const key = keyString(keyOf(object));
      const known = this.written.get(key);
      if (known === undefined) return;
      const isPast =
        revisionOf(object) > revisionOf(known) || (revisionOf(object) === revisionOf(known) && !isAhead(known, object));
      if (isPast || (type === 'deleted' && object.metadata.uid === known.metadata.uid)) this.written.delete(key);
    });
  }

  get(key: ObjectKey): T | undefined {
    const cached = this.informer.lister.get(key);
    const written = this.written.get(keyString(key));
    if (written === undefined) return cached;
    return cached === undefined || revisionOf(written) >= revisionOf(cached) ? written : cached;
  }

  /** The server's answer to a create, update or patch. */
  remember(object: T): T {
    if (this.gone.has(object.metadata.uid ?? '')) return object;
    this.written.set(keyString(keyOf(object)), object);
    return object;
  }

  /** The server has accepted the deletion of this object. */
  rememberDeletion(object: T, deletionTimestamp: string): void {
    this.remember({ ...object, metadata: { ...object.metadata, deletionTimestamp } });
  }

  private noteDeleted(uid: string): void {
    this.gone.add(uid);
    if (this.gone.size <= MAX_GONE) return;
    const [oldest] = this.gone;
    if (oldest !== undefined) this.gone.delete(oldest);
  }
}

/** The remembered deletion of an object whose cached state does not show it yet. */
function isAhead(known: KubeObject, cached: KubeObject): boolean {
  return known.metadata.deletionTimestamp !== undefined && cached.metadata.deletionTimestamp === undefined;
}
