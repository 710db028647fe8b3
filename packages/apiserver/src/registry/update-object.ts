import {
  type FieldError,
  type UnstructuredObject,
  StatusError,
  cloneJson,
  conflict,
  deepEqual,
  forbiddenField,
  invalid,
  invalidValue,
  isObject,
  notFound,
  validateObjectMetaUpdate,
} from '@slipway/apimachinery';
import { StoredObject, deepFreeze, serializeObject } from '../watch-cache/stored-object.ts';
import { cleanMetadata } from './clean-metadata.ts';
import { admissionRequest, createObject, missingVersionError, throwInvalid } from './create-object.ts';
import { onlyManagedFieldsChanged, ownersOf, setOwners } from './managed-fields.ts';
import { applyDefaulting, applySchema, normalized, schemaErrors } from './schema-pass.ts';
import {
  OPTIMISTIC_LOCK_MESSAGE,
  type WriteContext,
  modifiedConflict,
  putObject,
  refOf,
  removeObject,
  strategyContext,
} from './write-context.ts';

export interface UpdateOptions {
  /** The next object from the stored one (frozen); returns a private copy. May be called again after a lost race. */
  readonly next: (old: UnstructuredObject) => UnstructuredObject | Promise<UnstructuredObject>;
  /** PUT: a body without resourceVersion is refused for kinds that want it. */
  readonly isReplacement: boolean;
  /** Creates the object when it is missing. */
  readonly createWhenMissing?: () => UnstructuredObject;
  /** Server-side apply keeps managedFields itself. */
  readonly isApplied?: boolean;
}

export interface UpdateResult {
  readonly stored: StoredObject;
  readonly isCreated: boolean;
  /** The write removed the last finalizer of a terminating object, so that it is gone. */
  readonly isDeleted: boolean;
}

const MAX_ATTEMPTS = 30;

/** PUT, PATCH and status writes. Loses no concurrent write: it starts over when another one was faster. */
export async function updateObject(context: WriteContext, name: string, options: UpdateOptions): Promise<UpdateResult> {
  const { definition, registry, namespace } = context;
  for (let attempt = 1; ; attempt++) {
    await registry.prepareLatest(definition, namespace, name);
    const old = registry.latest(definition, namespace, name);
    if (old === undefined) {
      if (options.createWhenMissing === undefined) throw notFound(refOf(definition), name);
      const stored = await createObject(context, options.createWhenMissing(), { isApplied: options.isApplied === true });
      return { stored, isCreated: true, isDeleted: false };
    }
    const next = await options.next(old.object);
    const carriesVersion = Boolean(next.metadata.resourceVersion) && options.isReplacement;
    const stored = await updateOnce(context, old, next, options);
    if (stored !== undefined) return stored;
    if (carriesVersion || attempt === MAX_ATTEMPTS) throw modifiedConflict(definition, name);
  }
}

async function updateOnce(
  context: WriteContext,
  old: StoredObject,
  body: UnstructuredObject,
  options: UpdateOptions,
): Promise<UpdateResult | undefined> {
  const { definition, registry } = context;
  const key = registry.keyOf(definition, context.namespace, old.name);
  const wanted = decoded(context, old.object, body, options);
  const owners = options.isApplied === true ? undefined : ownersOf(context, wanted, old.object);
  const next = await admitted(context, old.object, wanted);
  throwInvalid(context, next, updateErrors(context, next, old.object));
  if (options.isApplied !== true) setOwners(next, owners);
  for (const warning of definition.strategy.warnings?.(next, old.object) ?? []) context.warn(warning);
  await context.admission.validate(
    admissionRequest(context, 'UPDATE', old.name, { object: next, oldObject: old.object }),
    context.warn,
  );

  if (isFinished(context, next)) return finishDeletion(context, key, old, next);
  if (isUnchanged(next, old.object)) {
    // answering from the stored object needs it durable: it may be another writer's, still on its way
    await registry.cache.waitFor(old.revision, 5_000);
    return { stored: old, isCreated: false, isDeleted: false };
  }
  if (context.dryRun) return { stored: preview(old, next), isCreated: false, isDeleted: false };
  const stored = await putObject(context, key, next, old.revision);
  return stored && { stored, isCreated: false, isDeleted: false };
}

const preview = (old: StoredObject, next: UnstructuredObject): StoredObject =>
  new StoredObject(old.key, old.revision, serializeObject(next), deepFreeze(next));

function decoded(
  context: WriteContext,
  old: UnstructuredObject,
  body: UnstructuredObject,
  options: UpdateOptions,
): UnstructuredObject {
  checkPreconditions(context, old, body, options);
  keepSystemFields(context, old, body);
  const next = applySchema(context, body);
  applyDefaulting(context, next);
  cleanMetadata(next, context.warn);
  return next;
}

/** Takes back what this kind of write may not change; webhooks are no exception. */
function restrict(context: WriteContext, next: UnstructuredObject, old: UnstructuredObject): void {
  const { definition, subresource } = context;
  const { strategy } = definition;
  const strategyCtx = strategyContext(context);
  if (subresource === 'status') {
    if (strategy.prepareForStatusUpdate) strategy.prepareForStatusUpdate(next, old, strategyCtx);
    else keepAllButStatus(definition.custom, next, old);
    // upstream: a status write of a Deployment keeps its labels, one of other built-in kinds may change them
    if (definition.group === 'apps' && definition.plural === 'deployments') keepLabels(next, old);
    return;
  }
  if (definition.subresources.status && subresource === '') restore(next, old, 'status');
  strategy.prepareForUpdate?.(next, old, strategyCtx);
}

function keepLabels(next: UnstructuredObject, old: UnstructuredObject): void {
  if (old.metadata.labels === undefined) delete next.metadata.labels;
  else next.metadata.labels = { ...old.metadata.labels };
}

/** Default of status writes: built-in kinds also take labels and annotations, custom resources the status alone. */
function keepAllButStatus(isCustom: boolean, next: UnstructuredObject, old: UnstructuredObject): void {
  for (const field of new Set([...Object.keys(next), ...Object.keys(old)])) {
    if (field !== 'status' && field !== 'metadata' && field !== 'apiVersion' && field !== 'kind') restore(next, old, field);
  }
  if (!isCustom) return;
  const { managedFields } = next.metadata;
  next.metadata = { ...cloneJson(old.metadata), ...(managedFields && { managedFields }) };
}

function restore(next: UnstructuredObject, old: UnstructuredObject, field: string): void {
  if (old[field] === undefined) delete next[field];
  else next[field] = cloneJson(old[field]);
}

function checkPreconditions(
  context: WriteContext,
  old: UnstructuredObject,
  next: UnstructuredObject,
  { isReplacement }: UpdateOptions,
): void {
  const { definition } = context;
  const name = old.metadata.name ?? '';
  const { resourceVersion, uid } = next.metadata;
  if (uid && uid !== old.metadata.uid) {
    if (!isReplacement) {
      const finding = invalidValue('metadata.uid', uid, 'field is immutable');
      throw invalid(definition, name, [finding, finding]);
    }
    throw conflict(
      refOf(definition),
      name,
      `StorageError: invalid object, Code: 4, Key: /registry/${definition.plural}/${context.namespace ? `${context.namespace}/` : ''}${name}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid}`,
    );
  }
  if (!resourceVersion) {
    if (isReplacement && !definition.strategy.allowUnconditionalUpdate) {
      throw invalid({ group: definition.group, kind: definition.plural }, name, [missingVersionError()]);
    }
    return;
  }
  if (resourceVersion === '0' && definition.strategy.allowUnconditionalUpdate) return;
  if (resourceVersion !== old.metadata.resourceVersion) throw conflict(refOf(definition), name, OPTIMISTIC_LOCK_MESSAGE);
}

function keepSystemFields(context: WriteContext, old: UnstructuredObject, next: UnstructuredObject): void {
  const { metadata } = next;
  const before = old.metadata;
  metadata.name ??= before.name ?? '';
  if (context.definition.namespaced) metadata.namespace = context.namespace;
  if (before.uid !== undefined) metadata.uid = before.uid;
  if (before.resourceVersion !== undefined) metadata.resourceVersion = before.resourceVersion;
  if (before.creationTimestamp !== undefined) metadata.creationTimestamp = before.creationTimestamp;
  if (before.generateName !== undefined) metadata.generateName = before.generateName;
  delete (metadata as Record<string, unknown>)['selfLink']; // a field of old clients
  keepOptional(metadata, before, 'deletionTimestamp');
  keepOptional(metadata, before, 'deletionGracePeriodSeconds');
  keepOptional(metadata, before, 'generation');
}

function keepOptional<K extends 'deletionTimestamp' | 'deletionGracePeriodSeconds' | 'generation'>(
  metadata: UnstructuredObject['metadata'],
  before: UnstructuredObject['metadata'],
  field: K,
): void {
  if (before[field] === undefined) delete metadata[field];
  else metadata[field] = before[field];
}

async function admitted(context: WriteContext, old: UnstructuredObject, next: UnstructuredObject): Promise<UnstructuredObject> {
  const request = admissionRequest(context, 'UPDATE', old.metadata.name ?? '', { object: next, oldObject: old });
  const normalize = (changed: UnstructuredObject): UnstructuredObject => normalized(context, changed);
  const object = (await context.admission.mutate(request, context.warn, normalize)) ?? next;
  keepSystemFields(context, old, object);
  restrict(context, object, old);
  if (bumpsGeneration(context, object, old)) object.metadata.generation = (old.metadata.generation ?? 0) + 1;
  return object;
}

function bumpsGeneration(context: WriteContext, next: UnstructuredObject, old: UnstructuredObject): boolean {
  const { strategy, subresources } = context.definition;
  if (!strategy.hasGeneration || context.subresource === 'status') return false;
  if (strategy.generationBumps) return strategy.generationBumps(next, old);
  const spec = (object: UnstructuredObject): Record<string, unknown> => {
    const { metadata: _metadata, status, ...rest } = object;
    return subresources.status ? rest : { ...rest, status };
  };
  return !deepEqual(spec(next), spec(old));
}

/** Only the older built-in kinds want their finalizers qualified by a domain. */
export function metaErrors({ definition }: WriteContext, errors: readonly FieldError[]): FieldError[] {
  if (!definition.custom && definition.group !== 'apiextensions.k8s.io') return [...errors];
  return errors.filter(({ detail }) => !detail.endsWith('name is neither a standard finalizer name nor is it fully qualified'));
}

/**
 * Kubernetes-compat: several layers look at the metadata of a built-in kind's update, and each reports what it finds.
 */
function repeatedFindings({ definition }: WriteContext, errors: readonly FieldError[]): FieldError[] {
  if (definition.custom) return [...errors];
  return errors.flatMap((error) => new Array<FieldError>(error.detail.endsWith('field is immutable') ? 2 : 4).fill(error));
}

function updateErrors(context: WriteContext, next: UnstructuredObject, old: UnstructuredObject): FieldError[] {
  const { definition, subresource } = context;
  const { strategy } = definition;
  const strategyCtx = strategyContext(context);
  const errors = [
    ...repeatedFindings(context, metaErrors(context, validateObjectMetaUpdate(next.metadata, old.metadata))),
    ...schemaErrors(context, next, old),
  ];
  // the server itself is the author of a binding, and of the number of a scale
  if (subresource === 'binding') return errors;
  if (subresource === 'ephemeralcontainers') return [...errors, ...ephemeralContainerErrors(next, old)];
  if (subresource === 'status') return [...errors, ...(strategy.validateStatusUpdate?.(next, old, strategyCtx) ?? [])];
  return [
    ...errors,
    ...(strategy.validate?.(next, strategyCtx) ?? []),
    ...(strategy.validateUpdate?.(next, old, strategyCtx) ?? []),
  ];
}

/** Ephemeral containers are only ever added; everything else of the pod stays. */
function ephemeralContainerErrors(next: UnstructuredObject, old: UnstructuredObject): FieldError[] {
  const split = (object: UnstructuredObject): { containers: readonly unknown[]; rest: Record<string, unknown> } => {
    const { ephemeralContainers = [], ...rest } = isObject(object['spec']) ? object['spec'] : {};
    return { containers: Array.isArray(ephemeralContainers) ? ephemeralContainers : [], rest };
  };
  const [after, before] = [split(next), split(old)];
  const isKept = before.containers.every((container) => after.containers.some((other) => deepEqual(container, other)));
  const errors: FieldError[] = [];
  if (!isKept)
    errors.push(forbiddenField('spec.ephemeralContainers', 'existing ephemeral containers may not be removed or changed'));
  if (!deepEqual(after.rest, before.rest)) errors.push(forbiddenField('spec', 'only ephemeral containers may be added here'));
  return errors;
}

/** Equal but for bookkeeping: such a write keeps the resourceVersion and wakes no watcher. */
function isUnchanged(next: UnstructuredObject, old: UnstructuredObject): boolean {
  return deepEqual(next, old) || onlyManagedFieldsChanged(next, old);
}

/** Deletion was asked for before, and nothing holds the object any longer. */
function isFinished(context: WriteContext, object: UnstructuredObject): boolean {
  const { metadata } = object;
  if (metadata.deletionTimestamp === undefined || (metadata.finalizers?.length ?? 0) > 0) return false;
  if ((metadata.deletionGracePeriodSeconds ?? 0) > 0) return false;
  return context.definition.strategy.isRemovable?.(object) ?? true;
}

async function finishDeletion(
  context: WriteContext,
  key: string,
  old: StoredObject,
  next: UnstructuredObject,
): Promise<UpdateResult | undefined> {
  if (!context.dryRun && (await removeObject(context, key, old.revision)) === undefined) return undefined;
  return { stored: preview(old, next), isCreated: false, isDeleted: true };
}

/** Throws 400 unless the body's identity fits the URL. */
export function checkIdentity(context: WriteContext, body: UnstructuredObject, name: string | undefined): void {
  const { definition, namespace } = context;
  const { metadata: meta } = body;
  // names of another type are refused when the types are looked at
  if (typeof (meta.name ?? '') !== 'string' || typeof (meta.namespace ?? '') !== 'string') return;
  if (name !== undefined && meta.name && meta.name !== name) {
    throw badRequestStatus(`the name of the object (${meta.name}) does not match the name on the URL (${name})`);
  }
  if (definition.namespaced && meta.namespace && meta.namespace !== namespace) {
    throw badRequestStatus('the namespace of the provided object does not match the namespace sent on the request');
  }
}

const badRequestStatus = (message: string): StatusError => new StatusError({ code: 400, reason: 'BadRequest', message });
