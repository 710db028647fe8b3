import {
  type StructuralSchema,
  type UnstructuredObject,
  apiVersionOf,
  applyConfiguration,
  deepEqual,
  formatTime,
  trackUpdate as ownersAfterUpdate,
  type WriteContext as OwnershipContext,
} from '@slipway/apimachinery';
import { withTypeAndObjectMeta } from '@slipway/schema';
import type { ResourceDefinition } from './resource-definition.ts';
import type { WriteContext } from './write-context.ts';

const wholeSchemas = new WeakMap<StructuralSchema, StructuralSchema>();

/** Schema of whole objects, metadata included; made once per schema. */
export function wholeSchema({ schema }: ResourceDefinition): StructuralSchema | undefined {
  if (schema === undefined) return undefined;
  const known = wholeSchemas.get(schema);
  if (known !== undefined) return known;
  const made = withTypeAndObjectMeta(schema);
  wholeSchemas.set(schema, made);
  return made;
}

function ownershipContext(context: WriteContext): OwnershipContext {
  const { definition } = context;
  return {
    manager: context.fieldManager,
    apiVersion: apiVersionOf(definition),
    subresource: context.subresource,
    now: formatTime(context.nowMs()),
    schema: wholeSchema(definition),
    hasStatus: definition.subresources.status === true,
    isCustom: definition.custom,
  };
}

export type ManagedFields = UnstructuredObject['metadata']['managedFields'];

/**
 * Who owns what after a write of `object`, which is what the client sent with the defaults filled in: what admission and
 * the server itself add later (a cluster address, a finalizer, a volume with a token) belongs to nobody, so that a
 * later apply by the same client does not take it away.
 */
export function ownersOf(context: WriteContext, object: UnstructuredObject, old: UnstructuredObject | undefined): ManagedFields {
  return ownersAfterUpdate(old, old === undefined ? object : ofThisWrite(context, object, old), ownershipContext(context));
}

/** Without the parts that a write of this kind cannot change. */
function ofThisWrite(context: WriteContext, object: UnstructuredObject, old: UnstructuredObject): UnstructuredObject {
  const { definition, subresource } = context;
  if (subresource === 'status') return { ...old, metadata: object.metadata, ...withStatus(object) };
  if (subresource !== '' || !definition.subresources.status) return object;
  const { status: _status, ...rest } = object;
  return { ...rest, ...withStatus(old) } as UnstructuredObject; // its type fields are in the rest
}

const withStatus = ({ status }: UnstructuredObject): Record<string, unknown> => (status === undefined ? {} : { status });

/** Writes the owners into the object. */
export function setOwners(object: UnstructuredObject, managedFields: ManagedFields): void {
  if (managedFields === undefined || managedFields.length === 0) delete object.metadata.managedFields;
  else object.metadata.managedFields = managedFields;
}

/** Server-side apply of `config` on `live`. Throws StatusError 409 for conflicts. */
export function applied(
  context: WriteContext,
  live: UnstructuredObject | undefined,
  config: UnstructuredObject,
  force: boolean,
): UnstructuredObject {
  return applyConfiguration(live, config, { ...ownershipContext(context), force });
}

/** True when the objects differ in managedFields at most, and there in times alone. */
export function onlyManagedFieldsChanged(next: UnstructuredObject, old: UnstructuredObject): boolean {
  const plain = (object: UnstructuredObject): unknown => ({
    ...object,
    metadata: { ...object.metadata, managedFields: object.metadata.managedFields?.map((entry) => ({ ...entry, time: '' })) },
  });
  return deepEqual(plain(next), plain(old));
}
