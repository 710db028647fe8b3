import { hasFinalizer, isTerminating, type KubeObject, type OwnerReference } from '@slipway/apimachinery';
import { ownersOf } from './ownership-graph.ts';

export const FOREGROUND = 'foregroundDeletion';
export const ORPHAN = 'orphan';

/** What is known of one owner of an object. */
export interface OwnerState {
  readonly reference: OwnerReference;
  /** `leaving`: being deleted, and waits for its dependents to go first. */
  readonly state: 'present' | 'absent' | 'leaving';
}

export interface Dependent {
  readonly object: KubeObject;
}

export type CollectionPlan =
  | { readonly action: 'none' }
  /** All owners are gone, or want this object gone first. */
  | { readonly action: 'delete'; readonly propagationPolicy: 'Background' | 'Foreground' | 'Orphan' }
  | { readonly action: 'drop-owners'; readonly keep: readonly OwnerReference[] }
  | { readonly action: 'orphan-dependents' }
  | { readonly action: 'drop-finalizer'; readonly finalizer: string }
  | { readonly action: 'check-dependents' };

/** Decides what the garbage collector does with one object. */
export function planCollection(
  object: KubeObject,
  owners: readonly OwnerState[],
  dependents: readonly Dependent[],
): CollectionPlan {
  if (isTerminating(object)) return planTerminating(object, dependents);
  if (owners.length === 0) return { action: 'none' };
  const present = owners.filter(({ state }) => state === 'present');
  if (present.length === owners.length) return { action: 'none' };
  if (present.length > 0) return { action: 'drop-owners', keep: present.map(({ reference }) => reference) };
  const isWantedFirst = owners.some(({ state }) => state === 'leaving');
  if (isWantedFirst && dependents.length > 0) return { action: 'delete', propagationPolicy: 'Foreground' };
  if (hasFinalizer(object, ORPHAN)) return { action: 'delete', propagationPolicy: 'Orphan' };
  return { action: 'delete', propagationPolicy: hasFinalizer(object, FOREGROUND) ? 'Foreground' : 'Background' };
}

function planTerminating(object: KubeObject, dependents: readonly Dependent[]): CollectionPlan {
  const { uid } = object.metadata;
  if (hasFinalizer(object, ORPHAN)) {
    return dependents.length > 0 ? { action: 'orphan-dependents' } : { action: 'drop-finalizer', finalizer: ORPHAN };
  }
  if (!hasFinalizer(object, FOREGROUND)) return { action: 'none' };
  const isBlocked = dependents.some((dependent) =>
    ownersOf(dependent.object).some((owner) => owner.uid === uid && owner.blockOwnerDeletion === true),
  );
  return isBlocked ? { action: 'check-dependents' } : { action: 'drop-finalizer', finalizer: FOREGROUND };
}

/** An owner that is being deleted in the foreground. */
export const isLeaving = (object: KubeObject): boolean => isTerminating(object) && hasFinalizer(object, FOREGROUND);
