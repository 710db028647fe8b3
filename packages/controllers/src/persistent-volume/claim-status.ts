import { compareQuantities, formatQuantity, isConditionTrue, removeCondition, setCondition } from '@slipway/apimachinery';
import type { PersistentVolume, PersistentVolumeClaim } from '@slipway/api';
import { requestedStorage, storageOf } from './volume-match.ts';

type Status = NonNullable<PersistentVolumeClaim['status']>;
type Conditions = Parameters<typeof setCondition>[0];

/**
 * Status of a claim that has its volume. A request beyond the volume's capacity shows as `Resizing`; who holds the
 * volume grows it and raises the volume's capacity, and then the claim's follows.
 */
export function boundStatus(claim: PersistentVolumeClaim, volume: PersistentVolume, canGrow: boolean, now: string): Status {
  const capacity = storageOf(volume.spec?.capacity);
  const wantsMore = compareQuantities(requestedStorage(claim), capacity) > 0;
  const before = claim.status?.conditions as Conditions;
  const conditions =
    wantsMore && canGrow ? setCondition(before, { type: 'Resizing', status: 'True' }, now) : removeCondition(before, 'Resizing');
  const { conditions: _, ...rest } = claim.status ?? {};
  return {
    ...rest,
    phase: 'Bound',
    ...(volume.spec?.accessModes && { accessModes: volume.spec.accessModes }),
    capacity: { ...volume.spec?.capacity, storage: formatQuantity(capacity) },
    ...(conditions.length > 0 && { conditions: conditions as NonNullable<Status['conditions']> }),
  };
}

/** True when a claim that was growing has reached its request. */
export const hasGrown = (claim: PersistentVolumeClaim, next: Status): boolean =>
  isConditionTrue(claim.status?.conditions as Conditions, 'Resizing') &&
  !isConditionTrue(next.conditions as Conditions, 'Resizing');
