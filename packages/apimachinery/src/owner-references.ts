import { type KubeObject, type ObjectMeta, type OwnerReference, type ResourceKind, apiVersionOf } from './types.ts';

/** A reference that makes `owner` the managing controller, as controllers put on what they create. */
export function controllerReference(
  owner: { metadata: ObjectMeta },
  kind: Pick<ResourceKind, 'group' | 'version' | 'kind'>,
): OwnerReference {
  return { ...ownerReference(owner, kind), controller: true, blockOwnerDeletion: true };
}

/** A plain reference: the garbage collector deletes the dependent with the last of its owners. */
export function ownerReference(
  owner: { metadata: ObjectMeta },
  kind: Pick<ResourceKind, 'group' | 'version' | 'kind'>,
): OwnerReference {
  const { name, uid } = owner.metadata;
  if (name === undefined || uid === undefined) throw new Error('Owner is not stored yet');
  return { apiVersion: apiVersionOf(kind), kind: kind.kind, name, uid };
}

export function controllerOf(object: { metadata: ObjectMeta }): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((reference) => reference.controller === true);
}

export function isControlledBy(object: { metadata: ObjectMeta }, owner: { metadata: ObjectMeta }): boolean {
  return owner.metadata.uid !== undefined && controllerOf(object)?.uid === owner.metadata.uid;
}

export function isOwnedBy(object: { metadata: ObjectMeta }, owner: { metadata: ObjectMeta }): boolean {
  const { uid } = owner.metadata;
  return uid !== undefined && (object.metadata.ownerReferences?.some((reference) => reference.uid === uid) ?? false);
}

export const hasFinalizer = (object: { metadata: ObjectMeta }, finalizer: string): boolean =>
  object.metadata.finalizers?.includes(finalizer) ?? false;

export const isTerminating = (object: Pick<KubeObject, 'metadata'>): boolean => object.metadata.deletionTimestamp !== undefined;
