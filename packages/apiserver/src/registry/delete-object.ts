import { type UnstructuredObject, StatusError, cloneJson, conflict, formatTime, notFound } from '@slipway/apimachinery';
import { StoredObject, deepFreeze, serializeObject } from '../watch-cache/stored-object.ts';
import { admissionRequest } from './create-object.ts';
import { type WriteContext, modifiedConflict, putObject, refOf, removeObject, strategyContext } from './write-context.ts';

/** `metav1.DeleteOptions` after decoding. */
export interface DeleteRequestOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
  readonly orphanDependents?: boolean;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
}

export interface DeleteResult {
  /** The object as it is now, or as it last was. */
  readonly stored: StoredObject;
  /** Gone, as opposed to held by finalizers or a grace period. */
  readonly isGone: boolean;
}

const MAX_ATTEMPTS = 30;

/** Deletes one object, or marks it when finalizers or a grace period hold it. */
export async function deleteObject(context: WriteContext, name: string, options: DeleteRequestOptions): Promise<DeleteResult> {
  const { definition, registry, namespace } = context;
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
    await registry.prepareLatest(definition, namespace, name);
    const old = registry.latest(definition, namespace, name);
    if (old === undefined) throw notFound(refOf(definition), name);
    checkPreconditions(context, old.object, options);
    definition.strategy.checkDelete?.(old.object, strategyContext(context));
    await context.admission.validate(admissionRequest(context, 'DELETE', name, { oldObject: old.object }), context.warn);
    const result = await deleteOnce(context, old, options);
    if (result !== undefined) return result;
  }
  throw modifiedConflict(definition, name);
}

function checkPreconditions(context: WriteContext, object: UnstructuredObject, { preconditions }: DeleteRequestOptions): void {
  const { uid, resourceVersion, name = '' } = object.metadata;
  const refuse = (field: string, wanted: string, actual: string | undefined): StatusError => {
    const hint = `The object might have been ${field === 'UID' ? 'deleted and then recreated' : 'modified'}`;
    const error = conflict(
      { resource: context.definition.kind, group: context.definition.group },
      name,
      `the ${field} in the precondition (${wanted}) does not match the ${field} in record (${actual}). ${hint}`,
    );
    return new StatusError({ ...error.status, details: { ...error.status.details, kind: context.definition.kind } });
  };
  if (preconditions?.uid && preconditions.uid !== uid) throw refuse('UID', preconditions.uid, uid);
  if (preconditions?.resourceVersion && preconditions.resourceVersion !== resourceVersion) {
    throw refuse('ResourceVersion', preconditions.resourceVersion, resourceVersion);
  }
}

async function deleteOnce(
  context: WriteContext,
  old: StoredObject,
  options: DeleteRequestOptions,
): Promise<DeleteResult | undefined> {
  const { definition, registry } = context;
  const { strategy } = definition;
  const key = registry.keyOf(definition, context.namespace, old.name);
  const finalizers = finalizersFor(old.object, options, strategy.defaultPropagation);
  const grace = graceOf(context, old.object, options.gracePeriodSeconds);
  const waitsForSecond = strategy.deletesInTwoSteps === true && old.object.metadata.deletionTimestamp === undefined;
  const isRemovable = !waitsForSecond && (strategy.isRemovable?.(old.object) ?? true);
  if (grace === 0 && finalizers.length === 0 && isRemovable) return removeNow(context, key, old);

  const next = markDeleted(context, old.object, grace, finalizers);
  if (next === undefined) {
    await registry.cache.waitFor(old.revision, 5_000);
    return { stored: old, isGone: false };
  }
  if (context.dryRun) return { stored: asStored(old, next), isGone: false };
  const stored = await putObject(context, key, next, old.revision);
  return stored && { stored, isGone: false };
}

async function removeNow(context: WriteContext, key: string, old: StoredObject): Promise<DeleteResult | undefined> {
  if (context.dryRun) return { stored: old, isGone: true };
  const revision = await removeObject(context, key, old.revision);
  if (revision === undefined) return undefined;
  const last = cloneJson(old.object);
  last.metadata.resourceVersion = String(revision);
  if (last.metadata.deletionTimestamp !== undefined) last.metadata.deletionGracePeriodSeconds = 0;
  if (context.definition.strategy.deleteReturnsObject) context.definition.strategy.onDeletionRequested?.(last);
  return { stored: asStored(old, last), isGone: true };
}

const asStored = (old: StoredObject, object: UnstructuredObject): StoredObject =>
  new StoredObject(old.key, old.revision, serializeObject(object), deepFreeze(object));

/** Foreground and orphan deletion are carried out by the garbage collector, which drops its finalizer when done. */
function finalizersFor(
  object: UnstructuredObject,
  { propagationPolicy, orphanDependents }: DeleteRequestOptions,
  fallback: 'Background' | 'Orphan' | undefined,
): string[] {
  const current = object.metadata.finalizers ?? [];
  const others = current.filter((finalizer) => finalizer !== 'orphan' && finalizer !== 'foregroundDeletion');
  const policy = propagationPolicy ?? (orphanDependents === undefined ? undefined : orphanDependents ? 'Orphan' : 'Background');
  if (policy === 'Orphan') return [...others, 'orphan'];
  if (policy === 'Foreground') return [...others, 'foregroundDeletion'];
  if (policy === 'Background') return others;
  if (current.length !== others.length) return [...current];
  return fallback === 'Orphan' ? [...others, 'orphan'] : [...current];
}

/** A grace period can be shortened later, never prolonged. */
function graceOf(context: WriteContext, object: UnstructuredObject, requested: number | undefined): number {
  const { strategy } = context.definition;
  if (strategy.graceful === undefined) return 0;
  const wanted = requested !== undefined && requested < 0 ? 1 : requested;
  const { gracePeriodSeconds } = strategy.graceful(object, wanted);
  const { deletionTimestamp, deletionGracePeriodSeconds = 0 } = object.metadata;
  if (deletionTimestamp === undefined) return gracePeriodSeconds;
  if (wanted === undefined) return deletionGracePeriodSeconds;
  return Math.min(deletionGracePeriodSeconds, gracePeriodSeconds);
}

/** The object marked for deletion, or undefined when it is marked like this already. */
function markDeleted(
  context: WriteContext,
  old: UnstructuredObject,
  grace: number,
  finalizers: readonly string[],
): UnstructuredObject | undefined {
  const { deletionTimestamp, deletionGracePeriodSeconds, finalizers: before = [] } = old.metadata;
  const isMarked = deletionTimestamp !== undefined && deletionGracePeriodSeconds === grace;
  if (isMarked && before.length === finalizers.length && before.every((finalizer) => finalizers.includes(finalizer)))
    return undefined;
  const next = cloneJson(old);
  const { metadata } = next;
  if (!isMarked) {
    // the clock of a grace period starts with the first request
    const startMs =
      deletionTimestamp === undefined
        ? context.nowMs()
        : Date.parse(deletionTimestamp) - (deletionGracePeriodSeconds ?? 0) * 1000;
    metadata.deletionTimestamp = formatTime(startMs + grace * 1000);
    metadata.deletionGracePeriodSeconds = grace;
  }
  if (deletionTimestamp === undefined && metadata.generation !== undefined && metadata.generation > 0) metadata.generation++;
  if (finalizers.length > 0) metadata.finalizers = [...finalizers];
  else delete metadata.finalizers;
  context.definition.strategy.onDeletionRequested?.(next);
  return next;
}
