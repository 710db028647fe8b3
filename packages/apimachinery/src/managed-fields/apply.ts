import { StatusError, badRequest } from '../errors.ts';
import { type JsonObject, canonicalJson } from '../json.ts';
import type { StructuralSchema } from '../structural-schema.ts';
import type { ManagedFieldsEntry, StatusCause, UnstructuredObject } from '../types.ts';
import { compareObjects, fieldSetOf, isSame, storedFieldSetOf } from './compare.ts';
import { ListKeyError } from './elements.ts';
import { type FieldSet, EMPTY, difference, intersection, isEmptySet, membersOf, showPath, union } from './field-set.ts';
import { type Ownership, decodeManagedFields, encodeManagedFields, identityOf } from './managed-fields.ts';
import { mergeObjects, removeItems, withNamedParents } from './merge.ts';
import { type WriteContext, ownable, structsOf } from './track.ts';

const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';
const BEFORE_FIRST_APPLY = 'before-first-apply';

export interface ApplyContext extends WriteContext {
  /** Take over fields that others own with other values. */
  readonly force: boolean;
}

/**
 * Server-side apply: `config` laid over `live`, minus what this manager applied before and nobody wants any more.
 * The result carries the new `managedFields`. Throws StatusError 409 with one cause per conflicting field.
 */
export function applyConfiguration(
  live: UnstructuredObject | undefined,
  config: UnstructuredObject,
  context: ApplyContext,
): UnstructuredObject {
  if ((config.metadata.managedFields?.length ?? 0) > 0) {
    throw badRequest('metadata.managedFields must be nil');
  }
  try {
    return apply(live, config, context);
  } catch (error) {
    if (error instanceof ListKeyError) throw badRequest(`failed to create typed patch object: ${error.message}`);
    throw error;
  }
}

function apply(live: UnstructuredObject | undefined, config: UnstructuredObject, context: ApplyContext): UnstructuredObject {
  const { schema } = context;
  const before: JsonObject = live === undefined ? {} : stripManagedFields(live);
  const owners = ownersBefore(live, before, context);
  const writer = { ...identity(context), time: undefined, fields: ownable(fieldSetOf(config, schema), context) };
  const last = owners.find((owner) => identityOf(owner) === identityOf(writer));
  const others = owners.filter((owner) => owner !== last);
  const merged = mergeObjects(before, config, schema);
  const next = pruneDropped(merged, last?.fields, [writer, ...others], schema);
  const comparison = compareObjects(before, next, schema, structsOf(context));
  const remaining = settleConflicts(others, union(comparison.modified, comparison.added), comparison.removed, context.force);
  const time = isSame(comparison) ? last?.time : context.now;
  const managedFields = encodeManagedFields([...remaining, { ...writer, time }]);
  return finish(next, managedFields, config, context);
}

const identity = ({ manager, apiVersion, subresource }: WriteContext) =>
  ({ manager, operation: 'Apply', apiVersion, subresource }) as const;

function stripManagedFields(object: UnstructuredObject): JsonObject {
  const { managedFields: _managedFields, ...metadata } = object.metadata;
  return { ...object, metadata };
}

/** An object that nobody was tracked on belongs to a manager of its own, so that its fields survive the first apply. */
function ownersBefore(live: UnstructuredObject | undefined, before: JsonObject, context: ApplyContext): Ownership[] {
  const owners = decodeManagedFields(live?.metadata.managedFields) ?? [];
  if (live === undefined || owners.length > 0) return owners;
  const fields = ownable(compareObjects({}, before, context.schema, structsOf(context)).added, {
    subresource: '',
    hasStatus: false,
  });
  const { apiVersion, now } = context;
  return [{ manager: BEFORE_FIRST_APPLY, operation: 'Update', apiVersion, subresource: '', time: now, fields }];
}

/** Removes what the writer applied last time, did not apply now, and no other manager claims. */
function pruneDropped(
  merged: JsonObject,
  last: FieldSet | undefined,
  owners: readonly Ownership[],
  schema: StructuralSchema | undefined,
): JsonObject {
  if (last === undefined || isEmptySet(last)) return merged;
  const lastNamed = withNamedParents(last, schema);
  const claimed = withNamedParents(
    owners.reduce<FieldSet>((all, owner) => union(all, owner.fields), EMPTY),
    schema,
  );
  const everything = withNamedParents(storedFieldSetOf(merged, schema), schema);
  const pruned = removeItems(merged, lastNamed, schema);
  const kept = union(withNamedParents(storedFieldSetOf(pruned, schema), schema), claimed);
  const gone = intersection(difference(everything, kept), lastNamed);
  return removeItems(merged, gone, schema);
}

function settleConflicts(others: readonly Ownership[], changed: FieldSet, removed: FieldSet, force: boolean): Ownership[] {
  const conflicts = others
    .map((owner) => ({ owner, fields: intersection(owner.fields, changed) }))
    .filter(({ fields }) => !isEmptySet(fields));
  if (conflicts.length > 0 && !force) throw conflictError(conflicts);
  return others.map((owner) => ({ ...owner, fields: difference(difference(owner.fields, changed), removed) }));
}

interface Conflict {
  readonly owner: Ownership;
  readonly fields: FieldSet;
}

function conflictError(conflicts: readonly Conflict[]): StatusError {
  const causes: StatusCause[] = [];
  const texts = conflicts.map(({ owner, fields }) => {
    const paths = membersOf(fields).map(showPath).sort();
    const who = describe(owner);
    for (const field of paths) causes.push({ reason: 'FieldManagerConflict', message: `conflict with ${who}`, field });
    return paths.length === 1
      ? `conflict with ${who}: ${paths[0]}`
      : `conflicts with ${who}:\n${paths.map((path) => `- ${path}`).join('\n')}`;
  });
  const count = causes.length === 1 ? '1 conflict' : `${causes.length} conflicts`;
  return new StatusError({
    code: 409,
    reason: 'Conflict',
    message: `Apply failed with ${count}: ${texts.join('\n')}`,
    details: { causes },
  });
}

function describe({ manager, operation, apiVersion, subresource }: Ownership): string {
  const part = subresource === '' ? '' : ` with subresource "${subresource}"`;
  return operation === 'Update' ? `${JSON.stringify(manager)}${part} using ${apiVersion}` : `${JSON.stringify(manager)}${part}`;
}

function finish(
  next: JsonObject,
  managedFields: ManagedFieldsEntry[],
  config: UnstructuredObject,
  { manager }: ApplyContext,
): UnstructuredObject {
  const object = next as UnstructuredObject; // merged from two objects
  const metadata = { ...object.metadata, managedFields };
  // kubectl keeps its client-side record right, so that going back to it works
  if (manager === 'kubectl' && metadata.annotations?.[LAST_APPLIED] !== undefined) {
    metadata.annotations = { ...metadata.annotations, [LAST_APPLIED]: `${canonicalJson(config)}\n` };
  }
  return { ...object, metadata };
}
