import { type Condition, type ConditionUpdate, formatTime, parseTime, setCondition } from '@slipway/apimachinery';
import type { Pod, PodDisruptionBudget } from '@slipway/api';
import { isPodReady } from '../workload/pod-state.ts';
import { scaledValue } from '../workload/int-or-percent.ts';

type Status = NonNullable<PodDisruptionBudget['status']>;

/** An evicted pod that is still there after this long was not deleted after all. */
export const EVICTION_TIMEOUT_MS = 2 * 60_000;
const CONDITION = 'DisruptionAllowed';

export interface BudgetFacts {
  readonly pods: readonly Pod[];
  /** Sum of the replicas that the controllers of the pods want; undefined when a pod has no controller with a scale. */
  readonly wantedReplicas: number | undefined;
  readonly nowMs: number;
}

/** What a budget permits now. Undefined when it needs a number of replicas that nothing states. */
export function planBudget(budget: PodDisruptionBudget, { pods, wantedReplicas, nowMs }: BudgetFacts): Status | undefined {
  const amounts = amountsOf(budget, pods.length, wantedReplicas);
  if (amounts === undefined) return undefined;
  const disruptedPods = stillDisrupted(budget, pods, nowMs);
  const currentHealthy = pods.filter((pod) => isHealthy(pod) && !((pod.metadata.name ?? '') in disruptedPods)).length;
  const { expectedPods, desiredHealthy } = amounts;
  const disruptionsAllowed = expectedPods > 0 ? Math.max(0, currentHealthy - desiredHealthy) : 0;
  const { generation = 0 } = budget.metadata;
  const condition = {
    type: CONDITION,
    status: disruptionsAllowed > 0 ? 'True' : 'False',
    reason: disruptionsAllowed > 0 ? 'SufficientPods' : 'InsufficientPods',
    message: '',
    observedGeneration: generation,
  } as const;
  return {
    ...(Object.keys(disruptedPods).length > 0 && { disruptedPods }),
    observedGeneration: generation,
    disruptionsAllowed,
    currentHealthy,
    desiredHealthy,
    expectedPods,
    conditions: withCondition(budget, condition, nowMs),
  };
}

/** A budget that cannot be worked out permits nothing. */
export function refusedBudget(budget: PodDisruptionBudget, message: string, nowMs: number): Status {
  const { generation = 0 } = budget.metadata;
  const condition = {
    type: CONDITION,
    status: 'False',
    reason: 'SyncFailed',
    message,
    observedGeneration: generation,
  } as const;
  const { currentHealthy = 0, desiredHealthy = 0, expectedPods = 0 } = budget.status ?? {};
  const conditions = withCondition(budget, condition, nowMs);
  return { currentHealthy, desiredHealthy, expectedPods, disruptionsAllowed: 0, observedGeneration: generation, conditions };
}

function amountsOf({ spec }: PodDisruptionBudget, present: number, wanted: number | undefined) {
  if (spec?.maxUnavailable !== undefined) {
    if (wanted === undefined) return undefined;
    const unavailable = scaledValue(spec.maxUnavailable, wanted, true) ?? 0;
    return { expectedPods: wanted, desiredHealthy: Math.max(0, wanted - unavailable) };
  }
  const { minAvailable } = spec ?? {};
  if (typeof minAvailable === 'string') {
    if (wanted === undefined) return undefined;
    return { expectedPods: wanted, desiredHealthy: scaledValue(minAvailable, wanted, true) ?? 0 };
  }
  return { expectedPods: present, desiredHealthy: minAvailable ?? 0 };
}

const isHealthy = (pod: Pod): boolean => !pod.metadata.deletionTimestamp && isPodReady(pod);

/** Evictions that were granted and whose pods are still there. */
function stillDisrupted({ status }: PodDisruptionBudget, pods: readonly Pod[], nowMs: number): Record<string, string> {
  const entries = Object.entries(status?.disruptedPods ?? {}).filter(([name, since]) => {
    const pod = pods.find(({ metadata }) => metadata.name === name);
    return pod && !pod.metadata.deletionTimestamp && (parseTime(since) ?? 0) + EVICTION_TIMEOUT_MS > nowMs;
  });
  return Object.fromEntries(entries);
}

function withCondition(
  budget: PodDisruptionBudget,
  condition: ConditionUpdate,
  nowMs: number,
): NonNullable<Status['conditions']> {
  // the published condition type has a plain string for its status
  const before = budget.status?.conditions as readonly Condition[] | undefined;
  return [...setCondition(before, condition, formatTime(nowMs))] as NonNullable<Status['conditions']>;
}
