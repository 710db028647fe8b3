import type { Pod, StatefulSet } from '@slipway/api';
import { isAvailable, isFinished, isPodReady } from '../workload/pod-state.ts';
import { ordinalOf, revisionNameOf } from './stateful-pods.ts';

type Status = NonNullable<StatefulSet['status']>;

/** What to do now: pods to make by ordinal and revision name, and pods to remove. */
export interface StatefulPlan {
  readonly create: readonly { readonly ordinal: number; readonly revision: string }[];
  readonly remove: readonly Pod[];
}

export interface StatefulFacts {
  readonly pods: readonly Pod[];
  readonly currentRevision: string;
  readonly updateRevision: string;
  readonly nowMs: number;
}

interface Shape {
  readonly start: number;
  readonly replicas: number;
  readonly isParallel: boolean;
  readonly partition: number;
}

function shapeOf({ spec }: StatefulSet): Shape {
  return {
    start: spec?.ordinals?.start ?? 0,
    replicas: spec?.replicas ?? 1,
    isParallel: spec?.podManagementPolicy === 'Parallel',
    partition: spec?.updateStrategy?.rollingUpdate?.partition ?? 0,
  };
}

const isTerminating = (pod: Pod): boolean => Boolean(pod.metadata.deletionTimestamp);

/** One step at a time in order, unless the set is parallel: fill gaps upwards, remove the surplus downwards, then update. */
export function planStatefulSet(set: StatefulSet, facts: StatefulFacts): StatefulPlan {
  const shape = shapeOf(set);
  const byOrdinal = new Map<number, Pod>();
  for (const pod of facts.pods) {
    const ordinal = ordinalOf(set, pod);
    if (ordinal !== undefined) byOrdinal.set(ordinal, pod);
  }
  const isHealthy = (pod: Pod): boolean => !isTerminating(pod) && isAvailable(pod, set.spec?.minReadySeconds ?? 0, facts.nowMs);
  const filling = fill(shape, byOrdinal, facts, isHealthy);
  if (filling.isBlocked) return filling;
  const shrinking = shrink(shape, byOrdinal, isHealthy);
  const create = filling.create;
  const remove = [...filling.remove, ...shrinking.remove];
  if (shrinking.isBlocked || create.length > 0 || remove.length > 0) return { create, remove };
  return { create, remove: update(set, shape, byOrdinal, facts, isHealthy) };
}

interface Step extends StatefulPlan {
  /** An ordered set does nothing else now. */
  readonly isBlocked: boolean;
}

type Ordinals = ReadonlyMap<number, Pod>;
type IsHealthy = (pod: Pod) => boolean;

function fill(shape: Shape, pods: Ordinals, facts: StatefulFacts, isHealthy: IsHealthy): Step {
  const create: { ordinal: number; revision: string }[] = [];
  const remove: Pod[] = [];
  const { start, replicas, isParallel, partition } = shape;
  for (let ordinal = start; ordinal < start + replicas; ordinal++) {
    const pod = pods.get(ordinal);
    const revision = ordinal < start + partition ? facts.currentRevision : facts.updateRevision;
    if (pod === undefined) create.push({ ordinal, revision });
    else if (isFinished(pod) && !isTerminating(pod))
      remove.push(pod); // made again when it is gone
    else if (isHealthy(pod)) continue;
    if (!isParallel) return { create, remove, isBlocked: true };
  }
  return { create, remove, isBlocked: false };
}

function shrink({ start, replicas, isParallel }: Shape, pods: Ordinals, isHealthy: IsHealthy): Step {
  const condemned = [...pods].filter(([ordinal]) => ordinal < start || ordinal >= start + replicas).sort(([a], [b]) => b - a);
  const remove: Pod[] = [];
  const firstSick = condemned.findLast(([, pod]) => !isHealthy(pod))?.[1];
  for (const [, pod] of condemned) {
    if (!isParallel && (isTerminating(pod) || (!isHealthy(pod) && pod !== firstSick)))
      return { create: [], remove, isBlocked: true };
    if (!isTerminating(pod)) remove.push(pod);
    if (!isParallel) return { create: [], remove, isBlocked: true };
  }
  return { create: [], remove, isBlocked: false };
}

/** From the highest ordinal down to the partition, the next only when the last works again. */
function update(
  set: StatefulSet,
  { start, replicas, partition }: Shape,
  pods: Ordinals,
  { updateRevision }: StatefulFacts,
  isHealthy: IsHealthy,
): readonly Pod[] {
  if (set.spec?.updateStrategy?.type === 'OnDelete') return [];
  for (let ordinal = start + replicas - 1; ordinal >= start + partition; ordinal--) {
    const pod = pods.get(ordinal);
    if (pod === undefined) return [];
    if (revisionNameOf(pod) !== updateRevision && !isTerminating(pod)) return [pod];
    if (!isHealthy(pod)) return [];
  }
  return [];
}

/** `status` from the pods; the update revision becomes the current one when every pod has it. */
export function statefulSetStatus(set: StatefulSet, facts: StatefulFacts): Status {
  const { pods, updateRevision, nowMs } = facts;
  const present = pods.filter((pod) => ordinalOf(set, pod) !== undefined && !isFinished(pod));
  const staying = present.filter((pod) => !isTerminating(pod));
  const ready = present.filter(isPodReady).length;
  const available = present.filter((pod) => isAvailable(pod, set.spec?.minReadySeconds ?? 0, nowMs)).length;
  const updated = staying.filter((pod) => revisionNameOf(pod) === updateRevision).length;
  const isComplete = updated === present.length && ready === present.length && updated === (set.spec?.replicas ?? 1);
  const currentRevision = isComplete && set.spec?.updateStrategy?.type !== 'OnDelete' ? updateRevision : facts.currentRevision;
  const current = staying.filter((pod) => revisionNameOf(pod) === currentRevision).length;
  return {
    observedGeneration: set.metadata.generation ?? 0,
    replicas: present.length,
    ...(ready > 0 && { readyReplicas: ready }),
    ...(current > 0 && { currentReplicas: current }),
    ...(updated > 0 && { updatedReplicas: updated }),
    currentRevision,
    updateRevision,
    collisionCount: set.status?.collisionCount ?? 0,
    availableReplicas: available,
  };
}
