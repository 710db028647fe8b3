import type { Condition } from './types.ts';

type Conditions = readonly Condition[] | undefined;

/** What a caller knows of a condition; the transition time is kept or set by `setCondition`. */
export type ConditionUpdate = Omit<Condition, 'lastTransitionTime'> & { lastTransitionTime?: string };

export function findCondition(conditions: Conditions, type: string): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

export function isConditionTrue(conditions: Conditions, type: string): boolean {
  return findCondition(conditions, type)?.status === 'True';
}

/**
 * The list with the condition set. `lastTransitionTime` changes only with the status. Returns the same array when
 * nothing changes, so that callers can skip the write.
 */
export function setCondition(conditions: Conditions, update: ConditionUpdate, now: string): readonly Condition[] {
  const list = conditions ?? [];
  const index = list.findIndex((condition) => condition.type === update.type);
  const before = list[index];
  if (before === undefined) return [...list, { ...update, lastTransitionTime: update.lastTransitionTime ?? now }];
  const moved = before.status !== update.status;
  const lastTransitionTime = moved ? (update.lastTransitionTime ?? now) : (before.lastTransitionTime ?? now);
  const after: Condition = { ...before, ...update, lastTransitionTime };
  return isSame(before, after) ? list : list.with(index, after);
}

/** Same array when the condition is not there. */
export function removeCondition(conditions: Conditions, type: string): readonly Condition[] {
  const list = conditions ?? [];
  return findCondition(list, type) === undefined ? list : list.filter((condition) => condition.type !== type);
}

function isSame(a: Condition, b: Condition): boolean {
  return (
    a.status === b.status &&
    a.reason === b.reason &&
    a.message === b.message &&
    a.lastTransitionTime === b.lastTransitionTime &&
    a.lastProbeTime === b.lastProbeTime &&
    a.observedGeneration === b.observedGeneration
  );
}
