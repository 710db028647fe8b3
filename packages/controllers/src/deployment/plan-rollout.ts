import type { Deployment, ReplicaSet } from '@slipway/api';
import { byAge, DESIRED, MAXIMUM, replicasOf, sumOfAvailable, sumOfReplicas, surgeOf } from './replica-sets.ts';

export interface Scaling {
  readonly set: ReplicaSet;
  readonly replicas: number;
}

const isActive = (set: ReplicaSet): boolean => replicasOf(set) > 0;
const wantedOf = ({ spec }: Deployment): number => spec?.replicas ?? 1;

/** True when somebody changed `spec.replicas` since the ReplicaSets were last scaled. */
export const isResized = (deployment: Deployment, sets: readonly ReplicaSet[]): boolean =>
  sets.some((set) => {
    const desired = set.metadata.annotations?.[DESIRED];
    return isActive(set) && desired !== undefined && Number(desired) !== wantedOf(deployment);
  });

/** Replicas that the current ReplicaSet may have now, with `others` still there. */
export function currentReplicas(deployment: Deployment, current: number, others: readonly ReplicaSet[]): number {
  const wanted = wantedOf(deployment);
  if (deployment.spec?.strategy?.type === 'Recreate' || current >= wanted) return wanted;
  const room = wanted + surgeOf(deployment).maxSurge - (sumOfReplicas(others) + current);
  return room <= 0 ? current : current + Math.min(room, wanted - current);
}

/** The next step of a rolling update: the current set grows first, then the old ones shrink as far as is safe. */
export function planRollingUpdate(deployment: Deployment, current: ReplicaSet, old: readonly ReplicaSet[]): readonly Scaling[] {
  const replicas = currentReplicas(deployment, replicasOf(current), old);
  if (replicas !== replicasOf(current)) return [{ set: current, replicas }];
  return shrinkOld(deployment, current, old);
}

function shrinkOld(deployment: Deployment, current: ReplicaSet, old: readonly ReplicaSet[]): readonly Scaling[] {
  const all = [...old, current];
  const minAvailable = wantedOf(deployment) - surgeOf(deployment).maxUnavailable;
  const unavailable = replicasOf(current) - (current.status?.availableReplicas ?? 0);
  const limit = sumOfReplicas(all) - minAvailable - unavailable;
  if (limit <= 0) return [];
  const sizes = new Map<ReplicaSet, number>();
  const oldest = [...old].sort(byAge).filter(isActive);
  let left = limit;
  // pods that do not work are nobody's loss
  for (const set of oldest) {
    const useless = Math.min(left, replicasOf(set) - (set.status?.availableReplicas ?? 0));
    sizes.set(set, replicasOf(set) - Math.max(0, useless));
    left -= Math.max(0, useless);
  }
  let spare = sumOfAvailable(all) - minAvailable;
  for (const set of oldest) {
    if (spare <= 0) break;
    const size = sizes.get(set) ?? 0;
    const removed = Math.min(size, spare);
    sizes.set(set, size - removed);
    spare -= removed;
  }
  return oldest.flatMap((set) => (sizes.get(set) === replicasOf(set) ? [] : [{ set, replicas: sizes.get(set) ?? 0 }]));
}

/** Spreads a new size over the ReplicaSets: the only active one takes it, several share it by their sizes. */
export function planResize(
  deployment: Deployment,
  current: ReplicaSet | undefined,
  old: readonly ReplicaSet[],
): readonly Scaling[] {
  const wanted = wantedOf(deployment);
  const active = [...old, ...(current ? [current] : [])].filter(isActive);
  const only = active.length <= 1 ? (active[0] ?? current ?? [...old].sort(byAge).at(-1)) : undefined;
  if (only) return [{ set: only, replicas: wanted }];
  if (current && isSaturated(current, wanted)) {
    return old.filter(isActive).map((set) => ({ set, replicas: 0 }));
  }
  if (deployment.spec?.strategy?.type === 'Recreate') {
    return active.map((set) => ({ set, replicas: set === current ? wanted : 0 }));
  }
  return shareOut(deployment, active);
}

const isSaturated = (set: ReplicaSet, wanted: number): boolean =>
  replicasOf(set) === wanted &&
  Number(set.metadata.annotations?.[DESIRED]) === wanted &&
  (set.status?.availableReplicas ?? 0) === wanted;

function shareOut(deployment: Deployment, active: readonly ReplicaSet[]): readonly Scaling[] {
  const wanted = wantedOf(deployment);
  const allowed = wanted > 0 ? wanted + surgeOf(deployment).maxSurge : 0;
  const toAdd = allowed - sumOfReplicas(active);
  // growth goes to the largest first and then the newest, loss to the largest and then the oldest
  const order = [...active].sort((a, b) => replicasOf(b) - replicasOf(a) || (toAdd > 0 ? byAge(b, a) : byAge(a, b)));
  let left = toAdd;
  const sizes = order.map((set) => {
    const before = Number(set.metadata.annotations?.[MAXIMUM] ?? 0) || wanted;
    const share = Math.round((replicasOf(set) * allowed) / before) - replicasOf(set);
    const part = toAdd > 0 ? Math.max(0, Math.min(share, left)) : Math.min(0, Math.max(share, left));
    left -= part;
    return { set, replicas: replicasOf(set) + part };
  });
  return sizes.map((size, index) => (index === 0 ? { ...size, replicas: Math.max(0, size.replicas + left) } : size));
}

/** Old ReplicaSets that the history has no room for, oldest first. */
export function surplusHistory(deployment: Deployment, old: readonly ReplicaSet[]): readonly ReplicaSet[] {
  const limit = deployment.spec?.revisionHistoryLimit ?? 10;
  const surplus = old.length - limit;
  if (surplus <= 0) return [];
  return [...old]
    .sort(byAge)
    .slice(0, surplus)
    .filter((set) => {
      const isIdle = replicasOf(set) === 0 && (set.status?.replicas ?? 0) === 0;
      return isIdle && !set.metadata.deletionTimestamp && (set.status?.observedGeneration ?? 0) >= (set.metadata.generation ?? 0);
    });
}
