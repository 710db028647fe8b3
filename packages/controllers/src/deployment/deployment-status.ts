import { formatTime, parseTime } from '@slipway/apimachinery';
import type { Deployment, ReplicaSet } from '@slipway/api';
import { sumOfAvailable, surgeOf } from './replica-sets.ts';

type Status = NonNullable<Deployment['status']>;
type Condition = NonNullable<Status['conditions']>[number];

export interface StatusFacts {
  readonly current: ReplicaSet | undefined;
  readonly old: readonly ReplicaSet[];
  /** What this pass did with the current set; undefined: nothing new. */
  readonly event?: 'created' | 'found' | undefined;
  readonly collisionCount?: number | undefined;
  readonly nowMs: number;
}

/** `status` of a Deployment, conditions included, from its ReplicaSets. */
export function deploymentStatus(deployment: Deployment, facts: StatusFacts): Status {
  const { current, old } = facts;
  const all = current ? [...old, current] : old;
  const sum = (field: 'replicas' | 'readyReplicas'): number => all.reduce((total, set) => total + (set.status?.[field] ?? 0), 0);
  const available = sumOfAvailable(all);
  const specified = all.reduce((total, set) => total + (set.spec?.replicas ?? 0), 0);
  const counts = {
    replicas: sum('replicas'),
    updatedReplicas: current?.status?.replicas ?? 0,
    readyReplicas: sum('readyReplicas'),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, specified - available),
  };
  const collisionCount = facts.collisionCount ?? deployment.status?.collisionCount;
  const conditions = conditionsOf(deployment, counts, facts);
  return {
    observedGeneration: deployment.metadata.generation ?? 0,
    ...Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0)),
    conditions: [...conditions],
    ...(collisionCount !== undefined && { collisionCount }),
  };
}

type Counts = Readonly<
  Record<'replicas' | 'updatedReplicas' | 'readyReplicas' | 'availableReplicas' | 'unavailableReplicas', number>
>;

/** Everything is of the current template and available. */
export const isComplete = ({ spec }: Deployment, counts: Partial<Counts>): boolean =>
  [counts.updatedReplicas, counts.replicas, counts.availableReplicas].every((count) => (count ?? 0) === (spec?.replicas ?? 1));

function conditionsOf(deployment: Deployment, counts: Counts, facts: StatusFacts): readonly Condition[] {
  const now = formatTime(facts.nowMs);
  const before = deployment.status?.conditions ?? [];
  const wanted = [availability(deployment, counts), progress(deployment, counts, facts), replicaFailure(facts)];
  const known = ['Available', 'Progressing', 'ReplicaFailure'];
  return [
    ...before.filter(({ type }) => !known.includes(type)),
    ...wanted.flatMap((condition) => (condition ? [stamped(before, condition, now)] : [])),
  ];
}

type Said = Pick<Condition, 'type' | 'status' | 'reason' | 'message'> & { readonly isProgress?: boolean };

/** Times move with the status; the time of the last update also with each step forward. */
function stamped(before: readonly Condition[], { isProgress, ...said }: Said, now: string): Condition {
  const old = before.find(({ type }) => type === said.type);
  const isSame = old?.status === said.status && old.reason === said.reason && old.message === said.message;
  return {
    ...said,
    lastUpdateTime: isSame && !isProgress ? (old.lastUpdateTime ?? now) : now,
    lastTransitionTime: old?.status === said.status ? (old.lastTransitionTime ?? now) : now,
  };
}

function availability(deployment: Deployment, { availableReplicas }: Counts): Said {
  const needed = (deployment.spec?.replicas ?? 1) - surgeOf(deployment).maxUnavailable;
  return availableReplicas >= needed
    ? {
        type: 'Available',
        status: 'True',
        reason: 'MinimumReplicasAvailable',
        message: 'Deployment has minimum availability.',
      }
    : {
        type: 'Available',
        status: 'False',
        reason: 'MinimumReplicasUnavailable',
        message: 'Deployment does not have minimum availability.',
      };
}

function progress(deployment: Deployment, counts: Counts, facts: StatusFacts): Said | undefined {
  const { spec, status } = deployment;
  const before = status?.conditions?.find(({ type }) => type === 'Progressing');
  if (spec?.progressDeadlineSeconds === undefined) return undefined;
  if (spec.paused) return pausedProgress(before);
  if (before?.reason === 'DeploymentPaused') return said('Unknown', 'DeploymentResumed', 'Deployment is resumed');
  return eventProgress(deployment, counts, facts) ?? steadyProgress(deployment, counts, facts, before);
}

/** Pausing does not hide that a rollout had got stuck. */
const pausedProgress = (before: Condition | undefined): Said =>
  before?.reason === 'ProgressDeadlineExceeded' ? pick(before) : said('Unknown', 'DeploymentPaused', 'Deployment is paused');

const subjectOf = (deployment: Deployment, current: ReplicaSet | undefined): string =>
  current ? `ReplicaSet "${current.metadata.name}"` : `Deployment "${deployment.metadata.name}"`;

/** What this pass has just done, or that everything is done. */
function eventProgress(deployment: Deployment, counts: Counts, { current, event }: StatusFacts): Said | undefined {
  const name = current?.metadata.name;
  if (event === 'created') return said('True', 'NewReplicaSetCreated', `Created new replica set "${name}"`);
  if (isComplete(deployment, counts)) {
    return said('True', 'NewReplicaSetAvailable', `${subjectOf(deployment, current)} has successfully progressed.`);
  }
  return event === 'found' ? said('True', 'FoundNewReplicaSet', `Found new replica set "${name}"`) : undefined;
}

function steadyProgress(
  deployment: Deployment,
  counts: Counts,
  { current, nowMs }: StatusFacts,
  before: Condition | undefined,
): Said {
  const subject = subjectOf(deployment, current);
  const isRolledOut = before?.reason === 'NewReplicaSetAvailable' && counts.replicas === counts.updatedReplicas;
  // pods that fail after the rollout are no rollout
  if (isRolledOut) return pick(before);
  const moving = said('True', 'ReplicaSetUpdated', `${subject} is progressing.`);
  if (hasProgressed(deployment.status ?? {}, counts)) return { ...moving, isProgress: true };
  if (isOverdue(deployment, before, nowMs))
    return said('False', 'ProgressDeadlineExceeded', `${subject} has timed out progressing.`);
  return before ? pick(before) : moving;
}

const said = (status: string, reason: string, message: string): Said => ({ type: 'Progressing', status, reason, message });

const pick = ({ type, status, reason = '', message = '' }: Condition): Said => ({ type, status, reason, message });

function hasProgressed(before: Status, now: Counts): boolean {
  const oldReplicas = (status: Partial<Counts>): number => (status.replicas ?? 0) - (status.updatedReplicas ?? 0);
  return (
    now.updatedReplicas > (before.updatedReplicas ?? 0) ||
    oldReplicas(now) < oldReplicas(before) ||
    now.readyReplicas > (before.readyReplicas ?? 0) ||
    now.availableReplicas > (before.availableReplicas ?? 0)
  );
}

function isOverdue({ spec }: Deployment, progressing: Condition | undefined, nowMs: number): boolean {
  if (progressing === undefined) return false;
  if (progressing.reason === 'ProgressDeadlineExceeded') return true;
  const sinceMs = parseTime(progressing.lastUpdateTime) ?? nowMs;
  return nowMs - sinceMs >= (spec?.progressDeadlineSeconds ?? 600) * 1000;
}

/** Milliseconds until a rollout that is underway must have moved; undefined when none is. */
export function deadlineInMs(deployment: Deployment, status: Status, nowMs: number): number | undefined {
  const progressing = status.conditions?.find(({ type }) => type === 'Progressing');
  const { progressDeadlineSeconds, paused } = deployment.spec ?? {};
  if (progressing === undefined || progressDeadlineSeconds === undefined || paused) return undefined;
  const isOver = ['NewReplicaSetAvailable', 'ProgressDeadlineExceeded'].includes(progressing.reason ?? '');
  if (isOver || isComplete(deployment, status)) return undefined;
  const sinceMs = parseTime(progressing.lastUpdateTime) ?? nowMs;
  return Math.max(1000, sinceMs + progressDeadlineSeconds * 1000 - nowMs);
}

function replicaFailure({ current, old }: StatusFacts): Said | undefined {
  for (const set of [...(current ? [current] : []), ...old]) {
    const failure = set.status?.conditions?.find(({ type, status }) => type === 'ReplicaFailure' && status === 'True');
    if (failure) return { type: 'ReplicaFailure', status: 'True', reason: failure.reason ?? '', message: failure.message ?? '' };
  }
  return undefined;
}
