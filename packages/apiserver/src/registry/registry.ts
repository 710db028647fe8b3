import { type UnstructuredObject, apiVersionOf, cloneJson, internalError } from '@slipway/apimachinery';
import type { Store } from '@slipway/store';
import { type Collection, storedObjectOf } from '../watch-cache/collection.ts';
import { StoredObject, deepFreeze, serializeObject, storeKey } from '../watch-cache/stored-object.ts';
import { WatchCache } from '../watch-cache/watch-cache.ts';
import type { ResourceDefinition } from './resource-definition.ts';

const definitionKey = (group: string, version: string, plural: string): string => `${group}/${version}/${plural}`;

export const storageOf = (definition: ResourceDefinition): { readonly group: string; readonly plural: string } =>
  definition.storage ?? definition;

/** Every served resource and the objects behind it. Definitions come and go at run time. */
export class Registry {
  readonly store: Store;
  readonly cache: WatchCache;
  /** Rises with every change of the served resources; discovery and OpenAPI documents are cached by it. */
  generation = 0;
  /** Watches from before this revision are refused: what a new server sets up for itself is no history. */
  oldestWatchRevision = 0;
  private readonly definitions = new Map<string, ResourceDefinition>();
  private groups: { readonly generation: number; readonly names: ReadonlySet<string> } | undefined;
  private readonly views = new WeakMap<StoredObject, Map<ResourceDefinition, StoredObject>>();
  /** Revision at which each definition came into force. */
  private readonly since = new WeakMap<ResourceDefinition, number>();

  constructor(store: Store) {
    this.store = store;
    this.cache = new WatchCache(store);
  }

  /** Adds definitions or replaces those of the same group, version and plural. */
  add(definitions: readonly ResourceDefinition[]): void {
    for (const definition of definitions) {
      this.since.set(definition, this.store.revision);
      this.definitions.set(definitionKey(definition.group, definition.version, definition.plural), definition);
    }
    this.generation++;
  }

  /** Stops serving a resource in the versions for which `isGone` holds (all by default). */
  remove(group: string, plural: string, isGone: (version: string) => boolean = () => true): void {
    for (const [key, definition] of this.definitions) {
      if (definition.group === group && definition.plural === plural && isGone(definition.version)) this.definitions.delete(key);
    }
    this.generation++;
  }

  find(group: string, version: string, plural: string): ResourceDefinition | undefined {
    return this.definitions.get(definitionKey(group, version, plural));
  }

  findByKind(group: string, version: string, kind: string): ResourceDefinition | undefined {
    return this.all().find(
      (definition) => definition.group === group && definition.version === version && definition.kind === kind,
    );
  }

  /** Some version of a resource, for callers that do not care which. */
  findAnyVersion(group: string, plural: string): ResourceDefinition | undefined {
    return this.all().find((definition) => definition.group === group && definition.plural === plural);
  }

  /** True when some resource of the group is served. */
  hasGroup(group: string): boolean {
    if (this.groups?.generation !== this.generation) {
      this.groups = { generation: this.generation, names: new Set(this.all().map((definition) => definition.group)) };
    }
    return this.groups.names.has(group);
  }

  all(): ResourceDefinition[] {
    return [...this.definitions.values()];
  }

  collectionOf(definition: ResourceDefinition): Collection {
    return this.cache.collection(storageOf(definition));
  }

  keyOf(definition: ResourceDefinition, namespace: string, name: string): string {
    return storeKey(storageOf(definition), definition.namespaced ? namespace : '', name);
  }

  /** The newest durable object as this definition shows it. */
  get(definition: ResourceDefinition, namespace: string, name: string): StoredObject | undefined {
    const stored = this.collectionOf(definition).get(this.keyOf(definition, namespace, name));
    return stored && this.view(definition, stored);
  }

  /** The object a write must build on: it may not be durable yet. */
  latest(definition: ResourceDefinition, namespace: string, name: string): StoredObject | undefined {
    const entry = this.store.latest(this.keyOf(definition, namespace, name));
    return entry && this.view(definition, storedObjectOf(entry));
  }

  /** Any stored object by storage group and plural, in its storage form. */
  lookup(group: string, plural: string, namespace: string, name: string): UnstructuredObject | undefined {
    return this.cache.collection({ group, plural }).get(storeKey({ group, plural }, namespace, name))?.object;
  }

  lookupAll(group: string, plural: string, namespace?: string): readonly UnstructuredObject[] {
    return this.cache
      .collection({ group, plural })
      .list(namespace)
      .map(({ object }) => object);
  }

  /** A stored object in the version of `definition`, with today's defaults. Computed once per object and definition. */
  view(definition: ResourceDefinition, stored: StoredObject): StoredObject {
    if (isStorageForm(definition) && (!definition.readDefaults || this.isDefaulted(definition, stored))) return stored;
    const known = this.views.get(stored);
    const ready = known?.get(definition);
    if (ready !== undefined) return ready;
    if (definition.convert !== undefined) throw internalError(`${stored.name} is being converted; please try again`);
    const made = makeView(definition, stored);
    if (known !== undefined) known.set(definition, made);
    else this.views.set(stored, new Map([[definition, made]]));
    return made;
  }

  /** Written by this process since the definition is what it is: the defaults of today were filled in then. */
  private isDefaulted(definition: ResourceDefinition, stored: StoredObject): boolean {
    return stored.isWritten && stored.revision > (this.since.get(definition) ?? Number.POSITIVE_INFINITY);
  }

  /** Converts what `view` cannot convert by itself; for most definitions there is nothing to do. */
  async prepare(definition: ResourceDefinition, objects: readonly (StoredObject | undefined)[]): Promise<void> {
    const { convert } = definition;
    if (convert === undefined) return;
    const pending = objects.filter(
      (stored) => stored !== undefined && !this.views.get(stored)?.has(definition),
    ) as StoredObject[]; // no holes left
    if (pending.length === 0) return;
    const apiVersion = apiVersionOf(definition);
    const converted = await convert(
      pending.map(({ object }) => object),
      apiVersion,
    );
    pending.forEach((stored, index) => {
      const object = cloneJson(converted[index] ?? stored.object);
      const complete = definition.readDefaults?.(object) ?? object;
      const view = new StoredObject(stored.key, stored.revision, serializeObject(complete), deepFreeze(complete));
      this.views.set(stored, (this.views.get(stored) ?? new Map<ResourceDefinition, StoredObject>()).set(definition, view));
    });
  }

  /** `prepare` for the object a write will build on. */
  async prepareLatest(definition: ResourceDefinition, namespace: string, name: string): Promise<void> {
    if (definition.convert === undefined) return;
    const entry = this.store.latest(this.keyOf(definition, namespace, name));
    await this.prepare(definition, [entry && storedObjectOf(entry)]);
  }

  close(): void {
    this.cache.close();
  }
}

/** As stored, but perhaps for defaults that are younger than the object. */
function isStorageForm(definition: ResourceDefinition): boolean {
  return (
    (definition.storageVersion === undefined || definition.storageVersion === definition.version) &&
    definition.storage === undefined &&
    definition.fromStorage === undefined &&
    definition.strategy.decorate === undefined
  );
}

function makeView(definition: ResourceDefinition, stored: StoredObject): StoredObject {
  let object = cloneJson(stored.object);
  if (definition.fromStorage) object = definition.fromStorage(object);
  object.apiVersion = apiVersionOf(definition);
  if (definition.readDefaults) object = definition.readDefaults(object);
  if (definition.strategy.decorate) object = definition.strategy.decorate(object);
  const json = serializeObject(object);
  return json === stored.json ? stored : new StoredObject(stored.key, stored.revision, json, deepFreeze(object));
}

/** The form in which an object of `definition` goes to the store. */
export function storageForm(definition: ResourceDefinition, object: UnstructuredObject): UnstructuredObject {
  const { storageVersion } = definition;
  if (definition.toStorage) return definition.toStorage(cloneJson(object));
  if (storageVersion === undefined || storageVersion === definition.version) return object;
  return { ...object, apiVersion: apiVersionOf({ group: definition.group, version: storageVersion }) };
}
