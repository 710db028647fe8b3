import {
  apiVersionOf,
  type KubeObject,
  keyOf,
  keyString,
  type ResourceKind,
  StatusError,
  type WatchEvent,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { backOffDelay } from './back-off.ts';
import { sleep, type TimerClock } from './clock.ts';
import { deepFreeze } from './freeze.ts';
import type { Logger } from './logger.ts';
import { type IndexFunction, type Lister, ObjectCache } from './object-cache.ts';

export type InformerEvent<T> =
  | { readonly type: 'added'; readonly object: T; readonly old?: undefined }
  | { readonly type: 'updated'; readonly object: T; readonly old: T }
  | { readonly type: 'deleted'; readonly object: T; readonly old?: undefined };

export type InformerHandler<T> = (event: InformerEvent<T>) => void;

export interface InformerDeps {
  readonly client: Client;
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly log: Logger;
  readonly onActivity?: () => void;
}

export interface InformerOptions<T> {
  /** Reduces objects to what is worth caching; must keep name, namespace, uid and resourceVersion. */
  readonly transform?: (object: T) => T;
}

// short, because after a crash of the server everything must be reconciled again within two seconds
const RECONNECT = { baseMs: 100, maxMs: 1_500, jitter: 0.5 };
const PAGE_SIZE = 500;
const NORMAL_WATCH_MS = 5000;

/**
 * Keeps a cache of every object of one kind, by one list and then a watch that is resumed where it ended. Handlers see
 * the cache already changed; several changes of one object may arrive as one.
 */
export class Informer<T extends KubeObject> {
  private readonly cache = new ObjectCache<T>();
  private readonly handlers = new Set<InformerHandler<T>>();
  private readonly synced: Promise<void>;
  private markSynced: () => void = () => {};
  private resourceVersion = '';
  private isSynced = false;

  readonly kind: ResourceKind<T>;
  private readonly deps: InformerDeps;
  private readonly transform: (object: T) => T;

  constructor(kind: ResourceKind<T>, deps: InformerDeps, options: InformerOptions<T> = {}) {
    this.kind = kind;
    this.deps = deps;
    this.transform = options.transform ?? withoutManagedFields;
    this.synced = new Promise((resolve) => {
      this.markSynced = resolve;
    });
  }

  get lister(): Lister<T> {
    return this.cache;
  }

  get hasSynced(): boolean {
    return this.isSynced;
  }

  addIndex(name: string, valuesOf: IndexFunction<T>): void {
    this.cache.addIndex(name, valuesOf);
  }

  /** Calls back for every change from now on, and at once for what is cached already. Returns the function that ends it. */
  addHandler(handler: InformerHandler<T>): () => void {
    this.handlers.add(handler);
    for (const object of this.cache.list()) handler({ type: 'added', object });
    return () => this.handlers.delete(handler);
  }

  /** Resolves when the first list is in the cache. */
  whenSynced(): Promise<void> {
    return this.synced;
  }

  /** Lists and watches until aborted; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      try {
        if (this.resourceVersion === '') await this.relist(signal);
        const startedMs = this.deps.clock.now();
        const events = await this.watchOnce(signal);
        // a stream that brought nothing and ended soon was refused or cut: wait, or this would be a busy loop
        failures = events > 0 || this.deps.clock.now() - startedMs > NORMAL_WATCH_MS ? 0 : failures + 1;
      } catch (error) {
        failures++;
        if (!signal.aborted) this.onFailure(error, failures);
      }
      if (failures > 0) await sleep(this.deps.clock, backOffDelay(failures, RECONNECT, this.deps.random), signal).catch(() => {});
    }
  }

  /** True when the cache holds exactly what the server holds: every event so far was delivered. */
  async isCaughtUp(signal: AbortSignal): Promise<boolean> {
    if (!this.isSynced) return false;
    const { items } = await this.deps.client.list(this.kind, { signal });
    return (
      items.length === this.cache.size &&
      items.every((item) => this.cache.get(keyOf(item))?.metadata.resourceVersion === item.metadata.resourceVersion)
    );
  }

  private onFailure(error: unknown, failures: number): void {
    if (isExpired(error)) {
      this.resourceVersion = '';
      this.deps.log.debug({ kind: this.kind.plural }, 'watch expired, listing again');
      return;
    }
    const fields = { kind: this.kind.plural, error: error instanceof Error ? error.message : String(error), failures };
    if (failures > 3) this.deps.log.warn(fields, 'cannot watch');
    else this.deps.log.debug(fields, 'watch failed, connecting again');
  }

  private async relist(signal: AbortSignal): Promise<void> {
    const seen = new Set<string>();
    let next: string | undefined;
    let resourceVersion = '';
    do {
      const page = await this.deps.client.list(this.kind, { limit: PAGE_SIZE, ...(next && { continue: next }), signal });
      resourceVersion = page.metadata.resourceVersion ?? '';
      for (const item of page.items) {
        // items of a list may come without the fields that the list says once
        const object = { ...item, apiVersion: item.apiVersion ?? apiVersionOf(this.kind), kind: item.kind ?? this.kind.kind };
        seen.add(keyString(keyOf(object)));
        this.store(object);
      }
      next = page.metadata.continue || undefined;
    } while (next);
    for (const key of this.cache.keys()) if (!seen.has(key)) this.drop(key);
    this.resourceVersion = resourceVersion;
    this.isSynced = true;
    this.markSynced();
    this.deps.onActivity?.();
  }

  private async watchOnce(signal: AbortSignal): Promise<number> {
    const { resourceVersion } = this;
    let events = 0;
    for await (const event of this.deps.client.watch(this.kind, { resourceVersion, allowWatchBookmarks: true, signal })) {
      events++;
      this.onEvent(event);
    }
    return events;
  }

  private onEvent(event: WatchEvent<T>): void {
    switch (event.type) {
      case 'ERROR':
        throw new StatusError(event.object);
      case 'BOOKMARK':
        break;
      case 'DELETED':
        this.drop(keyString(keyOf(event.object)), event.object);
        break;
      default:
        this.store(event.object);
    }
    this.resourceVersion = event.object.metadata.resourceVersion ?? this.resourceVersion;
    this.deps.onActivity?.();
  }

  private store(received: T): void {
    const object = deepFreeze(this.transform(received));
    const old = this.cache.put(object);
    if (old === undefined) this.dispatch({ type: 'added', object });
    else if (old.metadata.uid !== object.metadata.uid) {
      // deleted and created again while nobody watched: two different objects
      this.dispatch({ type: 'deleted', object: old });
      this.dispatch({ type: 'added', object });
    } else if (old.metadata.resourceVersion !== object.metadata.resourceVersion) this.dispatch({ type: 'updated', object, old });
  }

  private drop(key: string, last?: T): void {
    const old = this.cache.delete(key);
    if (old) this.dispatch({ type: 'deleted', object: last === undefined ? old : deepFreeze(this.transform(last)) });
  }

  private dispatch(event: InformerEvent<T>): void {
    for (const handler of this.handlers) handler(event);
  }
}

/** Nobody reads managedFields from a cache, and they are a third of an object's size. A write without them keeps them. */
function withoutManagedFields<T extends KubeObject>(object: T): T {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

const isExpired = (error: unknown): boolean =>
  error instanceof StatusError && (error.code === 410 || error.reason === 'Expired' || error.reason === 'Gone');
