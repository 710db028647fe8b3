import type { VirtualMachineInstance } from '@slipway/api';
import { VmiPhase } from '@slipway/api';

/** The guest has ended and will not come back in this instance. */
export function isFinal(vmi: VirtualMachineInstance): boolean {
  const phase = vmi.status?.phase;
  return phase === VmiPhase.succeeded || phase === VmiPhase.failed;
}

export function isDeleting(object: { metadata: { deletionTimestamp?: string } }): boolean {
  return object.metadata.deletionTimestamp !== undefined;
}

/** True once the guest has run, whatever became of it. */
export function hasReachedRunning(vmi: VirtualMachineInstance): boolean {
  return (
    vmi.status?.phase === VmiPhase.running ||
    (vmi.status?.phaseTransitionTimestamps ?? []).some((entry) => entry.phase === VmiPhase.running)
  );
}

interface ConditionLike {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
}

export function conditionOf<T extends ConditionLike>(
  object: { readonly status?: { readonly conditions?: readonly T[] } } | undefined,
  type: string,
): T | undefined {
  return object?.status?.conditions?.find((condition) => condition.type === type);
}

export function hasCondition(
  object: { readonly status?: { readonly conditions?: readonly ConditionLike[] } } | undefined,
  type: string,
  status = 'True',
  reason?: string,
): boolean {
  const condition = conditionOf(object, type);
  return condition?.status === status && (reason === undefined || condition.reason === reason);
}

interface StoredCondition extends ConditionLike {
  readonly message?: string;
  readonly lastProbeTime?: string | null;
  readonly lastTransitionTime?: string | null;
}

/** What a condition says, without its times. */
export interface ConditionText {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

/** The condition to store: the previous one, untouched, when nothing but time differs. `now` is RFC 3339. */
export function transition<T extends StoredCondition>(
  previous: T | undefined,
  next: ConditionText,
  now: string,
): T | StoredCondition {
  const isSame =
    previous?.status === next.status && previous.reason === next.reason && (previous.message ?? '') === (next.message ?? '');
  if (isSame && previous !== undefined) return previous;
  const since = previous?.status === next.status ? (previous.lastTransitionTime ?? now) : now;
  return { ...next, lastProbeTime: null, lastTransitionTime: since };
}
