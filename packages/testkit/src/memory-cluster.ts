import {
  alreadyExists,
  applyJsonPatch,
  applyMergePatch,
  cloneJson,
  conflict,
  deepEqual,
  formatTime,
  type JsonObject,
  type KubeObject,
  keyString,
  matchesFields,
  matchesLabels,
  notFound,
  type ObjectKey,
  parseFieldSelector,
  parseLabelSelector,
  type ResourceKind,
  StatusError,
  type UnstructuredObject,
  type WatchEvent,
} from '@slipway/apimachinery';
import type { Client, DeleteOptions, ListOptions, PatchOptions, WatchOptions, WriteOptions } from '@slipway/client';
import type { Clock } from '@slipway/runtime';

interface Logged {
  readonly revision: number;
  readonly collection: string;
  readonly event: WatchEvent<UnstructuredObject>;
}

type AnyKind = Pick<ResourceKind, 'group' | 'plural' | 'version' | 'kind' | 'namespaced'>;

/** Kinds whose status is written through the main resource. */
const WITHOUT_STATUS_SUBRESOURCE: ReadonlySet<string> = new Set(['virtualmachineinstances']);

/**
 * The rules of object storage without an API server: versions, generations, subresources, finalizers, watches; no
 * schemas, defaults or authorization. For unit tests of client-side code.
 */
export class MemoryCluster {
  private readonly objects = new Map<string, Map<string, UnstructuredObject>>();
  private readonly log: Logged[] = [];
  private readonly waiting = new Set<() => void>();
  private revision = 100;
  private uids = 0;
  private readonly clock: Clock;
  /** Requests so far, as `verb plural[/subresource] key`. */
  readonly requests: string[] = [];

  constructor(clock: Clock) {
    this.clock = clock;
  }

  client(): Client {
    const note = (verb: string, kind: AnyKind, key: string, subresource = ''): void => {
      this.requests.push(`${verb} ${kind.plural}${subresource && `/${subresource}`} ${key}`);
    };
    // results have the type that the kind carries
    const typed = <T>(object: UnstructuredObject): T => cloneJson(object) as unknown as T;
    return {
      get: async <T extends KubeObject>(kind: ResourceKind<T>, key: ObjectKey) => typed<T>(this.require(kind, key)),
      list: async <T extends KubeObject>(kind: ResourceKind<T>, options: ListOptions = {}) => ({
        apiVersion: kind.group ? `${kind.group}/${kind.version}` : kind.version,
        kind: `${kind.kind}List`,
        metadata: { resourceVersion: String(this.revision) },
        items: this.select(kind, options).map((object) => typed<T>(object)),
      }),
      create: async <T extends KubeObject>(kind: ResourceKind<T>, object: T, options: WriteOptions = {}) => {
        note('create', kind, object.metadata.name ?? '', options.subresource);
        return typed<T>(this.create(kind, unstructured(object), options));
      },
      update: async <T extends KubeObject>(kind: ResourceKind<T>, object: T, options: WriteOptions = {}) => {
        note('update', kind, object.metadata.name ?? '', options.subresource);
        return typed<T>(this.replace(kind, unstructured(object), options));
      },
      patch: async <T extends KubeObject>(kind: ResourceKind<T>, key: ObjectKey, patch: unknown, options: PatchOptions) => {
        note('patch', kind, keyString(key), options.subresource);
        return typed<T>(this.patch(kind, key, patch, options));
      },
      delete: async (kind, key, options) => {
        note('delete', kind, keyString(key));
        this.remove(kind, key, options);
      },
      deleteCollection: async (kind, list, options) => {
        for (const { metadata } of this.select(kind, list)) {
          this.remove(kind, { namespace: metadata.namespace ?? '', name: metadata.name ?? '' }, options);
        }
      },
      watch: <T extends KubeObject>(kind: ResourceKind<T>, options: WatchOptions) => this.watch<T>(kind, options),
      raw: () => Promise.reject(new StatusError({ code: 404, reason: 'NotFound', message: 'No raw requests here' })),
      connect: () => Promise.reject(new StatusError({ code: 404, reason: 'NotFound', message: 'No streams here' })),
    };
  }

  private collection(kind: AnyKind): Map<string, UnstructuredObject> {
    const id = `${kind.group}/${kind.plural}`;
    let found = this.objects.get(id);
    if (found === undefined) {
      found = new Map();
      this.objects.set(id, found);
    }
    return found;
  }

  private require(kind: AnyKind, key: ObjectKey): UnstructuredObject {
    const object = this.collection(kind).get(keyString(key));
    if (object === undefined) throw notFound({ resource: kind.plural, group: kind.group }, key.name);
    return object;
  }

  private select(kind: AnyKind, options: ListOptions): UnstructuredObject[] {
    const labels = options.labelSelector ? parseLabelSelector(options.labelSelector) : [];
    const fields = options.fieldSelector ? parseFieldSelector(options.fieldSelector) : [];
    return [...this.collection(kind).values()].filter(
      (object) =>
        (!options.namespace || object.metadata.namespace === options.namespace) &&
        matchesLabels(labels, object.metadata.labels ?? {}) &&
        matchesFields(fields, (field) => fieldOf(object, field)),
    );
  }

  private commit(kind: AnyKind, type: 'ADDED' | 'MODIFIED' | 'DELETED', object: UnstructuredObject): UnstructuredObject {
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.revision) } };
    const { namespace = '', name = '' } = stored.metadata;
    if (type === 'DELETED') this.collection(kind).delete(keyString({ namespace, name }));
    else this.collection(kind).set(keyString({ namespace, name }), stored);
    this.log.push({ revision: this.revision, collection: `${kind.group}/${kind.plural}`, event: { type, object: stored } });
    for (const wake of this.waiting) wake();
    this.waiting.clear();
    return stored;
  }

  private create(kind: AnyKind, object: UnstructuredObject, options: WriteOptions): UnstructuredObject {
    if (options.subresource === 'binding') return this.bind(kind, object);
    const { generateName, name = `${generateName}${(++this.uids).toString(36).padStart(5, 'x')}` } = object.metadata;
    const namespace = kind.namespaced ? (object.metadata.namespace ?? 'default') : '';
    if (this.collection(kind).has(keyString({ namespace, name })))
      throw alreadyExists({ resource: kind.plural, group: kind.group }, name);
    const metadata = {
      ...object.metadata,
      name,
      ...(namespace && { namespace }),
      uid: `00000000-0000-4000-9000-${String(++this.uids).padStart(12, '0')}`,
      generation: 1,
      creationTimestamp: formatTime(this.clock.now()),
    };
    return this.commit(kind, 'ADDED', { ...object, metadata });
  }

  private bind(kind: AnyKind, binding: UnstructuredObject): UnstructuredObject {
    const { namespace = '', name = '' } = binding.metadata;
    const pod = cloneJson(this.require(kind, { namespace, name }));
    const target = binding['target'] as { name: string };
    const spec = { ...(pod['spec'] as JsonObject), nodeName: target.name };
    const conditions = [{ type: 'PodScheduled', status: 'True', lastTransitionTime: formatTime(this.clock.now()) }];
    return this.commit(kind, 'MODIFIED', { ...pod, spec, status: { ...(pod['status'] as JsonObject), conditions } });
  }

  private replace(kind: AnyKind, next: UnstructuredObject, options: WriteOptions): UnstructuredObject {
    const { namespace = '', name = '' } = next.metadata;
    const old = this.require(kind, { namespace: kind.namespaced ? namespace : '', name });
    const { resourceVersion } = next.metadata;
    if (resourceVersion && resourceVersion !== old.metadata.resourceVersion) {
      throw conflict(
        { resource: kind.plural, group: kind.group },
        name,
        'the object has been modified; please apply your changes to the latest version and try again',
      );
    }
    const isStatus = options.subresource === 'status';
    return this.commitUpdate(kind, old, next, isStatus);
  }

  private commitUpdate(kind: AnyKind, old: UnstructuredObject, next: UnstructuredObject, isStatus: boolean): UnstructuredObject {
    const merged = mergedUpdate(kind, old, next, isStatus);
    const { uid, creationTimestamp, deletionTimestamp, generation = 1 } = old.metadata;
    const isChanged = !deepEqual({ ...merged, metadata: 0, status: 0 }, { ...old, metadata: 0, status: 0 });
    merged.metadata = {
      ...(isStatus ? old.metadata : next.metadata),
      ...(uid && { uid }),
      ...(creationTimestamp && { creationTimestamp }),
      ...(deletionTimestamp && { deletionTimestamp }),
      generation: isChanged ? generation + 1 : generation,
      resourceVersion: old.metadata.resourceVersion ?? '',
    };
    if (deepEqual(merged, old)) return old;
    const isFinished = deletionTimestamp && !merged.metadata.finalizers?.length && isEmptyNamespace(merged);
    return this.commit(kind, isFinished ? 'DELETED' : 'MODIFIED', merged);
  }

  private patch(kind: AnyKind, key: ObjectKey, patch: unknown, options: PatchOptions): UnstructuredObject {
    const existing = this.collection(kind).get(keyString(key));
    if (options.type === 'apply' && existing === undefined) return this.create(kind, unstructured(patch as KubeObject), {});
    const old = this.require(kind, key);
    const patched =
      options.type === 'json'
        ? applyJsonPatch(cloneJson(old), patch)
        : applyMergePatch(cloneJson(old) as unknown as JsonObject, patch);
    const next = patched as UnstructuredObject;
    return this.replace(kind, next, options);
  }

  private remove(kind: AnyKind, key: ObjectKey, options: DeleteOptions = {}): void {
    const old = this.require(kind, key);
    checkPreconditions(kind, old, options);
    const next = cloneJson(old);
    const policy = { Foreground: ['foregroundDeletion'], Orphan: ['orphan'], Background: [] }[
      options.propagationPolicy ?? 'Background'
    ];
    const finalizers = [...new Set([...(old.metadata.finalizers ?? []), ...policy])];
    const grace = graceOf(kind, old, options);
    if (finalizers.length === 0 && grace === 0 && isEmptyNamespace(old)) {
      this.commit(kind, 'DELETED', next);
      return;
    }
    if (old.metadata.deletionTimestamp && grace >= (old.metadata.deletionGracePeriodSeconds ?? 0)) return;
    next.metadata = {
      ...next.metadata,
      finalizers,
      deletionTimestamp: formatTime(this.clock.now() + grace * 1000),
      deletionGracePeriodSeconds: grace,
    };
    if (kind.kind === 'Namespace') next['status'] = { phase: 'Terminating' };
    this.commit(kind, 'MODIFIED', next);
  }

  private async *watch<T>(kind: AnyKind, options: WatchOptions): AsyncGenerator<WatchEvent<T>, void, undefined> {
    let position = this.log.findIndex(({ revision }) => revision > Number(options.resourceVersion ?? this.revision));
    if (position < 0) position = this.log.length;
    while (!options.signal?.aborted) {
      const entry = this.log[position];
      if (entry === undefined) {
        await new Promise<void>((resolve) => {
          this.waiting.add(resolve);
          options.signal?.addEventListener('abort', () => resolve(), { once: true });
        });
        continue;
      }
      position++;
      // the collection holds objects of the kind's type only
      if (entry.collection === `${kind.group}/${kind.plural}`) yield cloneJson(entry.event) as unknown as WatchEvent<T>;
    }
  }
}

/** What an update writes: the status alone, or everything but the status of kinds that keep it apart. */
function mergedUpdate(kind: AnyKind, old: UnstructuredObject, next: UnstructuredObject, isStatus: boolean): UnstructuredObject {
  if (isStatus) return { ...old, status: next['status'] };
  if (WITHOUT_STATUS_SUBRESOURCE.has(kind.plural) || (!('status' in old) && !('status' in next))) return { ...next };
  return { ...next, status: old['status'] ?? next['status'] };
}

function checkPreconditions(kind: AnyKind, { metadata }: UnstructuredObject, { preconditions = {} }: DeleteOptions): void {
  const { uid = metadata.uid, resourceVersion = metadata.resourceVersion } = preconditions;
  if (uid !== metadata.uid || resourceVersion !== metadata.resourceVersion) {
    throw conflict({ resource: kind.plural, group: kind.group }, metadata.name ?? '', 'the precondition does not hold');
  }
}

function fieldOf(object: UnstructuredObject, path: string): string {
  const value = path.split('.').reduce<unknown>((parent, name) => (parent as JsonObject | undefined)?.[name], object);
  return typeof value === 'string' ? value : '';
}

const unstructured = (object: KubeObject): UnstructuredObject => cloneJson(object) as UnstructuredObject;

function isEmptyNamespace(object: UnstructuredObject): boolean {
  if (object.kind !== 'Namespace') return true;
  return ((object['spec'] as { finalizers?: string[] } | undefined)?.finalizers ?? []).length === 0;
}

/** Pods that run somewhere are deleted by their node; all others go at once. */
function graceOf(kind: AnyKind, object: UnstructuredObject, options: DeleteOptions): number {
  const spec = object['spec'] as { nodeName?: string; terminationGracePeriodSeconds?: number } | undefined;
  if (kind.plural !== 'pods' || !spec?.nodeName) return 0;
  return options.gracePeriodSeconds ?? spec.terminationGracePeriodSeconds ?? 30;
}
