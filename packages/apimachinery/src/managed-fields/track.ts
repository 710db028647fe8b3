import type { JsonObject } from '../json.ts';
import type { StructuralSchema } from '../structural-schema.ts';
import type { ManagedFieldsEntry, UnstructuredObject } from '../types.ts';
import { type Comparison, compareObjects, isSame } from './compare.ts';
import { EMPTY, type FieldSet, difference, isEmptySet, recursiveDifference, union } from './field-set.ts';
import { type Ownership, decodeManagedFields, encodeManagedFields, identityOf } from './managed-fields.ts';

/** Who writes, and how the kind is made. */
export interface WriteContext {
  readonly manager: string;
  readonly apiVersion: string;
  /** Empty for the main resource. */
  readonly subresource: string;
  /** Whole seconds, UTC. */
  readonly now: string;
  /** Of the whole object, metadata included. Absent: maps merge, lists are atomic. */
  readonly schema: StructuralSchema | undefined;
  /** The kind has a status subresource: main writes do not own status, status writes own nothing else. */
  readonly hasStatus: boolean;
  /** A custom resource: its objects exist only when they are written. */
  readonly isCustom: boolean;
}

/** Objects that built-in kinds always have in memory; see `compareObjects`. */
const BUILT_IN_STRUCTS: ReadonlySet<string> = new Set([
  'metadata',
  'spec',
  'status',
  'template',
  'strategy',
  'updateStrategy',
  'jobTemplate',
  'resources',
  'creationTimestamp', // of a template: always there, as null
]);
const CUSTOM_STRUCTS: ReadonlySet<string> = new Set(['metadata']);

export const structsOf = ({ isCustom }: WriteContext): ReadonlySet<string> => (isCustom ? CUSTOM_STRUCTS : BUILT_IN_STRUCTS);

/** Set by the server on every object; nobody owns them. */
const UNOWNED: FieldSet = {
  'f:apiVersion': EMPTY,
  'f:kind': EMPTY,
  'f:metadata': {
    'f:name': EMPTY,
    'f:namespace': EMPTY,
    'f:creationTimestamp': EMPTY,
    'f:selfLink': EMPTY,
    'f:uid': EMPTY,
    'f:generation': EMPTY,
    'f:managedFields': EMPTY,
    'f:resourceVersion': EMPTY,
  },
};

/** The part of a set that a write through this subresource may own. */
export function ownable(set: FieldSet, { subresource, hasStatus }: Pick<WriteContext, 'subresource' | 'hasStatus'>): FieldSet {
  let owned = recursiveDifference(set, UNOWNED);
  if (isEmptyMetadata(owned)) owned = without(owned, 'f:metadata');
  if (subresource === 'status') return owned['f:status'] === undefined ? EMPTY : { 'f:status': owned['f:status'] };
  return subresource === '' && hasStatus ? without(owned, 'f:status') : owned;
}

const isEmptyMetadata = (set: FieldSet): boolean => set['f:metadata'] !== undefined && isEmptySet(set['f:metadata']);

function without(set: FieldSet, element: string): FieldSet {
  if (set[element] === undefined) return set;
  const { [element]: _dropped, ...rest } = set;
  return rest;
}

const withoutManagedFields = (object: UnstructuredObject | undefined): JsonObject => {
  if (object === undefined) return {};
  return object.metadata.managedFields === undefined
    ? object
    : { ...object, metadata: { ...object.metadata, managedFields: undefined } };
};

/** Ownership as stored, or as an update that edits `managedFields` wants it. `[{}]` clears it. */
export function currentOwners(old: UnstructuredObject | undefined, next: UnstructuredObject): Ownership[] {
  const wanted = next.metadata.managedFields;
  if (wanted !== undefined && wanted.length > 0 && wanted !== old?.metadata.managedFields) {
    if (wanted.length === 1 && Object.keys(wanted[0] ?? {}).length === 0) return [];
    const decoded = decodeManagedFields(wanted);
    if (decoded !== undefined) return decoded;
  }
  return decodeManagedFields(old?.metadata.managedFields) ?? [];
}

export function compareForOwnership(
  old: UnstructuredObject | undefined,
  next: UnstructuredObject,
  context: WriteContext,
): Comparison {
  return compareObjects(withoutManagedFields(old), withoutManagedFields(next), context.schema, structsOf(context));
}

/**
 * The `managedFields` after a create, update or plain patch: the writer owns what it added or changed, nobody owns
 * what is gone. Returns the stored list itself when nothing changed.
 */
export function trackUpdate(
  old: UnstructuredObject | undefined,
  next: UnstructuredObject,
  context: WriteContext,
): ManagedFieldsEntry[] | undefined {
  if (old === undefined && next.metadata.managedFields === undefined) return soleOwner(next, context);
  const stored = old?.metadata.managedFields;
  const owners = currentOwners(old, next);
  const comparison = compareForOwnership(old, next, context);
  const edited = next.metadata.managedFields !== undefined && next.metadata.managedFields !== stored;
  if (old !== undefined && owners.length === 0) return undefined; // tracking was switched off for this object
  if (isSame(comparison)) return edited ? encodeManagedFields(owners) : stored;
  return encodeManagedFields(ownersAfterUpdate(owners, comparison, context));
}

/** Of a new object, which has no other owner: what the general way would find, for a third of the work. */
function soleOwner(next: UnstructuredObject, context: WriteContext): ManagedFieldsEntry[] {
  const { manager, apiVersion, subresource, now: time } = context;
  const fields = ownable(compareObjects({}, next, context.schema, structsOf(context)).added, context);
  return encodeManagedFields([{ manager, operation: 'Update', apiVersion, subresource, time, fields }]);
}

function ownersAfterUpdate(
  owners: readonly Ownership[],
  { added, modified, removed }: Comparison,
  context: WriteContext,
): Ownership[] {
  const { manager, apiVersion, subresource, now } = context;
  const changed = union(added, modified);
  const taken = ownable(changed, context);
  const writer = { manager, operation: 'Update', apiVersion, subresource } as const;
  const identity = identityOf(writer);
  const before = owners.find((owner) => identityOf(owner) === identity);
  const others = owners
    .filter((owner) => owner !== before)
    .map((owner) => ({ ...owner, fields: difference(difference(owner.fields, changed), removed) }));
  const kept = before === undefined ? EMPTY : difference(before.fields, removed);
  const time = isEmptySet(taken) ? before?.time : now;
  return [...others, { ...writer, time, fields: union(kept, taken) }];
}
