import { type Condition, cloneJson, deepEqual, formatTime } from '@slipway/apimachinery';
import type { PrintedColumn } from '@slipway/runtime';
import type { WriteContext } from '../registry/write-context.ts';
import { deleteObject } from '../registry/delete-object.ts';
import type { Registry } from '../registry/registry.ts';
import { putObject, removeObject } from '../registry/write-context.ts';
import type { Collection } from '../watch-cache/collection.ts';
import type { StoredObject } from '../watch-cache/stored-object.ts';
import { conversionOf } from './conversion-webhook.ts';
import { type Converters, type FieldConverter, definitionsOf } from './custom-resource.ts';
import { CRD_CLEANUP_FINALIZER, CRD_GROUP, CRD_PLURAL, type Crd, type CrdNames, asCrd, isEstablished } from './crd-types.ts';

export interface CrdControllerDeps {
  readonly registry: Registry;
  /** A context that writes as the server itself, for the resource given by group, version and plural. */
  readonly systemContext: (group: string, version: string, plural: string, namespace: string) => WriteContext | undefined;
  /** Converters of the platform's own kinds, by `group/Kind`. */
  readonly fieldConverters?: ReadonlyMap<string, FieldConverter> | undefined;
  /** What is printed of the platform's own kinds, by `group/Kind`, where JSONPath cannot say it. */
  readonly printedColumns?: ReadonlyMap<string, readonly PrintedColumn[]> | undefined;
  readonly nowMs: () => number;
  readonly logError: (error: unknown, what: string) => void;
}

/** Serves what CRDs declare: accepts names, sets conditions, adds and removes definitions, empties deleted kinds. */
export class CrdController {
  private readonly deps: CrdControllerDeps;
  private readonly collection: Collection;
  private readonly unsubscribe: () => void;
  /** Writes under way, by CRD name, so that each is worked on once at a time. */
  private readonly busy = new Map<string, Promise<void>>();

  constructor(deps: CrdControllerDeps) {
    this.deps = deps;
    this.collection = deps.registry.cache.collection({ group: CRD_GROUP, plural: CRD_PLURAL });
    this.serve(this.collection.list());
    this.unsubscribe = this.collection.subscribe(({ current, previous }) => {
      if (current !== undefined) this.serve([current]);
      else if (previous !== undefined) this.withdraw(asCrd(previous.object));
    });
    for (const { object } of this.collection.list()) this.reconcileSoon(object.metadata.name ?? '');
  }

  /** Resolves when nothing is left to do. */
  async settled(): Promise<void> {
    while (this.busy.size > 0) await Promise.all(this.busy.values());
  }

  close(): void {
    this.unsubscribe();
  }

  private serve(objects: readonly StoredObject[]): void {
    const crds = objects.map(({ object }) => asCrd(object));
    const established = crds.filter(isEstablished);
    if (established.length > 0) {
      const { registry } = this.deps;
      for (const crd of established) {
        const served = crd.spec.versions.filter((version) => version.served).map(({ name }) => name);
        registry.remove(crd.spec.group, crd.spec.names.plural, (version) => !served.includes(version));
      }
      registry.add(
        established.flatMap((crd) => definitionsOf(crd, this.convertersOf(crd), this.deps.printedColumns?.get(kindOf(crd)))),
      );
    }
    for (const crd of crds) this.reconcileSoon(crd.metadata.name ?? '');
  }

  private convertersOf(crd: Crd): Converters {
    const { registry, fieldConverters } = this.deps;
    const webhook = conversionOf(crd, registry);
    const fields = webhook === undefined ? fieldConverters?.get(kindOf(crd)) : undefined;
    return { webhook, fields };
  }

  private withdraw({ spec }: Crd): void {
    this.deps.registry.remove(spec.group, spec.names.plural);
  }

  private reconcileSoon(name: string): void {
    if (this.busy.has(name)) return;
    const work = Promise.resolve()
      .then(() => this.reconcile(name))
      .catch((error: unknown) => this.deps.logError(error, `CustomResourceDefinition ${name}`))
      .finally(() => {
        this.busy.delete(name);
        const current = this.collection.get(`${this.collection.prefix}/${name}`);
        if (current !== undefined && this.plan(current) !== undefined) this.reconcileSoon(name);
      });
    this.busy.set(name, work);
  }

  private async reconcile(name: string): Promise<void> {
    const current = this.collection.get(`${this.collection.prefix}/${name}`);
    const plan = current && this.plan(current);
    if (current === undefined || plan === undefined) return;
    const context = this.deps.systemContext(CRD_GROUP, 'v1', CRD_PLURAL, '');
    if (context === undefined) return;
    if (plan === 'clean-up') await this.cleanUp(asCrd(current.object));
    const next = plan === 'clean-up' ? withoutFinalizer(asCrd(current.object)) : plan;
    const isGone = plan === 'clean-up' && (next.metadata.finalizers?.length ?? 0) === 0;
    if (isGone) await removeObject(context, current.key, current.revision);
    else await putObject(context, current.key, next, current.revision);
  }

  /** What to write next; undefined when all is as it should be. */
  private plan(current: StoredObject): Crd | 'clean-up' | undefined {
    const crd = asCrd(current.object);
    if (crd.metadata.deletionTimestamp !== undefined) {
      return crd.metadata.finalizers?.includes(CRD_CLEANUP_FINALIZER) ? 'clean-up' : undefined;
    }
    const others = this.collection
      .list()
      .filter(({ key }) => key !== current.key)
      .map(({ object }) => asCrd(object));
    const next = acceptNames(crd, others, formatTime(this.deps.nowMs()));
    return deepEqual(next, crd) ? undefined : next;
  }

  private async cleanUp(crd: Crd): Promise<void> {
    const { registry, systemContext } = this.deps;
    const storage = { group: crd.spec.group, plural: crd.spec.names.plural };
    const [definition] = definitionsOf(crd);
    if (definition === undefined) return;
    registry.add([definition]);
    for (const { namespace, name } of registry.cache.collection(storage).list()) {
      const context = systemContext(storage.group, definition.version, storage.plural, namespace);
      if (context !== undefined) await deleteObject(context, name, {}).catch(() => undefined); // others may have been faster
    }
  }
}

function withoutFinalizer(crd: Crd): Crd {
  const next = cloneJson(crd);
  next.metadata.finalizers = (next.metadata.finalizers ?? []).filter((finalizer) => finalizer !== CRD_CLEANUP_FINALIZER);
  if (next.metadata.finalizers.length === 0) delete next.metadata.finalizers;
  return next;
}

interface NameConflict {
  readonly reason: string;
  readonly message: string;
}

/** Names another CRD of the group has already been given. */
function nameConflict(names: CrdNames, others: readonly Crd[]): NameConflict | undefined {
  const taken = others.flatMap(({ status }) => (status?.acceptedNames ? [status.acceptedNames] : []));
  const resources = new Set(taken.flatMap(({ plural, singular, shortNames = [] }) => [plural, singular, ...shortNames]));
  const kinds = new Set(taken.flatMap(({ kind, listKind }) => [kind, listKind]));
  const inUse = (reason: string, name: string): NameConflict => ({
    reason,
    message: `${JSON.stringify(name)} is already in use`,
  });
  let found: NameConflict | undefined;
  if (resources.has(names.plural)) found = inUse('PluralConflict', names.plural);
  if (names.singular && resources.has(names.singular)) found = inUse('SingularConflict', names.singular);
  for (const name of names.shortNames ?? []) if (resources.has(name)) found = inUse('ShortNamesConflict', name);
  if (kinds.has(names.kind)) found = inUse('KindConflict', names.kind);
  if (names.listKind && kinds.has(names.listKind)) found = inUse('ListKindConflict', names.listKind);
  return found;
}

/** Status of a CRD: conditions and accepted names; and the finalizer that gives time to remove its objects. */
export function acceptNames(crd: Crd, others: readonly Crd[], now: string): Crd {
  const inGroup = others.filter(({ spec }) => spec.group === crd.spec.group);
  const conflict = nameConflict(crd.spec.names, inGroup);
  // the schema is not touched, so it is shared: copying and comparing it is most of the work
  const next = { ...crd, metadata: { ...crd.metadata }, status: { ...crd.status } } satisfies Crd;
  const conditions = next.status.conditions ?? [];
  const wasEstablished = isEstablished(crd);
  const accepted: Condition = conflict
    ? { type: 'NamesAccepted', status: 'False', ...conflict }
    : { type: 'NamesAccepted', status: 'True', reason: 'NoConflicts', message: 'no conflicts found' };
  const established: Condition =
    conflict && !wasEstablished
      ? { type: 'Established', status: 'False', reason: 'NotAccepted', message: 'not all names are accepted' }
      : { type: 'Established', status: 'True', reason: 'InitialNamesAccepted', message: 'the initial names have been accepted' };
  next.status.conditions = setCondition(setCondition(conditions, accepted, now), established, now);
  next.status.acceptedNames = conflict ? partlyAccepted(crd, inGroup) : cloneJson(crd.spec.names);
  if (next.status.conditions.some(({ type, status }) => type === 'Established' && status === 'True')) {
    const finalizers = next.metadata.finalizers ?? [];
    if (!finalizers.includes(CRD_CLEANUP_FINALIZER)) next.metadata.finalizers = [...finalizers, CRD_CLEANUP_FINALIZER];
  }
  return next;
}

function partlyAccepted(crd: Crd, others: readonly Crd[]): CrdNames {
  const { names } = crd.spec;
  const before = crd.status?.acceptedNames ?? { plural: '', kind: '' };
  const isFree = (part: Partial<CrdNames>): boolean => nameConflict({ plural: '', kind: '', ...part }, others) === undefined;
  return {
    ...before,
    ...(isFree({ plural: names.plural }) && { plural: names.plural }),
    ...(names.singular && isFree({ singular: names.singular }) && { singular: names.singular }),
    ...(isFree({ kind: names.kind }) && { kind: names.kind }),
    ...(names.listKind && isFree({ listKind: names.listKind }) && { listKind: names.listKind }),
  };
}

function setCondition(conditions: readonly Condition[], wanted: Condition, now: string): Condition[] {
  const before = conditions.find(({ type }) => type === wanted.type);
  const same =
    before !== undefined &&
    before.status === wanted.status &&
    before.reason === wanted.reason &&
    before.message === wanted.message;
  if (same) return [...conditions];
  const lastTransitionTime = before?.status === wanted.status ? (before.lastTransitionTime ?? now) : now;
  return [...conditions.filter(({ type }) => type !== wanted.type), { lastTransitionTime, ...wanted }];
}

/** `group/Kind`. */
const kindOf = ({ spec }: Crd): string => `${spec.group}/${spec.names.kind}`;
