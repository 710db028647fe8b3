import { formatTime, type KubeObject, matchesLabels, setCondition, removeCondition, type Condition } from '@slipway/apimachinery';
import type { core, Pod } from '@slipway/api';
import type { PodFailure } from '../workload/owned-pods.ts';
import { isActive, isAvailable, isPodReady } from '../workload/pod-state.ts';
import { inRemovalOrder } from './removal-order.ts';

/** Creations and deletions in one pass. */
const BURST = 500;

/** What a ReplicaSet and a ReplicationController have in common. */
export interface ReplicatedWorkload extends KubeObject {
  readonly spec?: {
    readonly replicas?: number;
    readonly minReadySeconds?: number;
    readonly selector?: object;
    readonly template?: core.PodTemplateSpec;
  };
  status?: ReplicaStatus;
}

export interface ReplicaStatus {
  replicas: number;
  fullyLabeledReplicas?: number;
  readyReplicas?: number;
  availableReplicas?: number;
  observedGeneration?: number;
  conditions?: { type: string; status: string; reason?: string; message?: string; lastTransitionTime?: string }[];
}

/** How many pods to make, or which to remove. */
export function planReplicas({ spec, metadata }: ReplicatedWorkload, pods: readonly Pod[]) {
  if (metadata.deletionTimestamp) return { create: 0, remove: [] };
  const active = pods.filter(isActive);
  const surplus = active.length - (spec?.replicas ?? 1);
  if (surplus <= 0) return { create: Math.min(BURST, -surplus), remove: [] };
  return { create: 0, remove: inRemovalOrder(active).slice(0, Math.min(BURST, surplus)) };
}

/** `status` for these pods. */
export function replicaStatus(
  set: ReplicatedWorkload,
  pods: readonly Pod[],
  failure: PodFailure | undefined,
  nowMs: number,
): ReplicaStatus {
  const active = pods.filter(isActive);
  const { labels = {} } = (set.spec?.template?.metadata ?? {}) as KubeObject['metadata']; // same shape
  const template = Object.entries(labels).map(([key, value]) => ({ key, operator: 'In' as const, values: [value] }));
  const labelled = active.filter(({ metadata }) => matchesLabels(template, metadata.labels)).length;
  const ready = active.filter(isPodReady).length;
  const available = active.filter((pod) => isAvailable(pod, set.spec?.minReadySeconds ?? 0, nowMs)).length;
  const conditions = failureConditions(set, failure, nowMs);
  return {
    replicas: active.length,
    ...(labelled > 0 && { fullyLabeledReplicas: labelled }),
    ...(ready > 0 && { readyReplicas: ready }),
    ...(available > 0 && { availableReplicas: available }),
    observedGeneration: set.metadata.generation ?? 0,
    ...(conditions.length > 0 && { conditions: [...conditions] as NonNullable<ReplicaStatus['conditions']> }),
  };
}

function failureConditions(set: ReplicatedWorkload, failure: PodFailure | undefined, nowMs: number): readonly Condition[] {
  // conditions of this kind have a plain string for their status
  const before = set.status?.conditions as readonly Condition[] | undefined;
  if (failure === undefined) return removeCondition(before, 'ReplicaFailure');
  return setCondition(before, { type: 'ReplicaFailure', status: 'True', ...failure }, formatTime(nowMs));
}
