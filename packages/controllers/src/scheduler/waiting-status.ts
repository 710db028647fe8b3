import { formatTime } from '@slipway/apimachinery';
import type { core, Pod } from '@slipway/api';

/** Why a pod has no node. */
export interface Wait {
  readonly reason: 'Unschedulable' | 'SchedulingGated';
  readonly message: string;
  /** No room is being made for it, and none can be: what it was nominated for is everybody's again. */
  readonly isHopeless: boolean;
}

const SCHEDULED = 'PodScheduled';

/** Whether the pod says so already. */
export function isSaid({ status }: Pod, { reason, message }: Wait): boolean {
  const current = status?.conditions?.find(({ type }) => type === SCHEDULED);
  return current?.status === 'False' && current.reason === reason && current.message === message;
}

/** The status of a pod that waits; undefined when nothing is to be changed. Pure. */
export function waitingStatus(pod: Pod, wait: Wait, nowMs: number): core.PodStatus | undefined {
  const { nominatedNodeName, ...before } = pod.status ?? {};
  const nomination = wait.isHopeless ? undefined : nominatedNodeName;
  if (isSaid(pod, wait) && nomination === nominatedNodeName) return undefined;
  return {
    ...before,
    ...(nomination !== undefined && { nominatedNodeName: nomination }),
    phase: 'Pending',
    conditions: withWait(pod, wait, formatTime(nowMs)),
  };
}

function withWait({ status }: Pod, { reason, message }: Wait, now: string): core.PodCondition[] {
  const conditions = status?.conditions ?? [];
  const current = conditions.find(({ type }) => type === SCHEDULED);
  const lastTransitionTime = current?.status === 'False' ? (current.lastTransitionTime ?? now) : now;
  const waiting = { type: SCHEDULED, status: 'False', reason, message, lastTransitionTime };
  return [...conditions.filter(({ type }) => type !== SCHEDULED), waiting];
}
