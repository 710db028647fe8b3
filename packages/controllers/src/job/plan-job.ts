import { formatTime, parseTime } from '@slipway/apimachinery';
import type { Job, Pod } from '@slipway/api';
import { isActive, isPodReady } from '../workload/pod-state.ts';
import { formatIndexes, indexOf, parseIndexes } from './completion-indexes.ts';

type Status = NonNullable<Job['status']>;
type Condition = NonNullable<Status['conditions']>[number];

const BACK_OFF_MS = 10_000;
const MAX_BACK_OFF_MS = 6 * 60_000;

export interface JobPlan {
  /** One per pod to make: its completion index, or undefined where there are none. */
  readonly create: readonly (number | undefined)[];
  readonly remove: readonly Pod[];
  readonly status: Status;
  /** Why the Job has just ended, stopped or gone on. */
  readonly ending?: Pick<Condition, 'type' | 'reason' | 'message'> | undefined;
  readonly retryInMs?: number | undefined;
}

/** A Job that is `Complete` or `Failed` never runs again. */
export const endOf = ({ status }: Job): Condition | undefined =>
  status?.conditions?.find(({ type, status: value }) => (type === 'Complete' || type === 'Failed') && value === 'True');

interface Tally {
  readonly active: readonly Pod[];
  readonly succeeded: number;
  readonly failed: number;
  readonly completed: ReadonlySet<number>;
}

function tally(job: Job, pods: readonly Pod[]): Tally {
  const succeeded = pods.filter(({ status }) => status?.phase === 'Succeeded');
  const failed = pods.filter(({ status }) => status?.phase === 'Failed').length;
  const { completions = 0, completionMode } = job.spec ?? {};
  const completed = new Set(parseIndexes(job.status?.completedIndexes, completions));
  if (completionMode === 'Indexed') {
    for (const index of succeeded.map(indexOf)) if (index !== undefined && index < completions) completed.add(index);
  }
  // pods may be removed once they have ended, and still count
  const count = completionMode === 'Indexed' ? completed.size : Math.max(job.status?.succeeded ?? 0, succeeded.length);
  return {
    active: pods.filter(isActive),
    succeeded: count,
    failed: Math.max(job.status?.failed ?? 0, failed),
    completed,
  };
}

/** Decides whether a Job goes on, and with which pods. */
export function planJob(job: Job, pods: readonly Pod[], nowMs: number): JobPlan {
  const counts = tally(job, pods);
  if (endOf(job))
    return { create: [], remove: counts.active, status: statusOf(job, { ...counts, active: [] }, job.status ?? {}) };
  const startTime = job.spec?.suspend ? undefined : (job.status?.startTime ?? formatTime(nowMs));
  const ending = endingOf(job, counts, pods, startTime, nowMs);
  if (ending) return ended(job, counts, ending, startTime, nowMs);
  return job.spec?.suspend ? suspended(job, counts, nowMs) : running(job, counts, pods, startTime, nowMs);
}

function running(job: Job, counts: Tally, pods: readonly Pod[], startTime: string | undefined, nowMs: number): JobPlan {
  const conditions = resumed(job, nowMs);
  const isResumed = conditions !== undefined && job.status?.conditions !== conditions;
  const status = statusOf(job, counts, { ...(startTime && { startTime }), ...(conditions && { conditions }) });
  const surplus = counts.active.length - wantedActive(job, counts);
  const waitMs = surplus < 0 ? backOffMs(pods, counts.failed, nowMs) : 0;
  const retryInMs = smallest([waitMs > 0 ? waitMs : undefined, deadlineInMs(job, startTime, nowMs)]);
  return {
    create: surplus < 0 && waitMs === 0 ? freeIndexes(job, counts, -surplus) : [],
    remove: counts.active.slice(0, Math.max(0, surplus)),
    status,
    retryInMs,
    ...(isResumed && { ending: { type: 'Resumed', reason: 'Resumed', message: 'Job resumed' } }),
  };
}

function wantedActive({ spec }: Job, { active, succeeded }: Tally): number {
  const parallelism = spec?.parallelism ?? 1;
  if (spec?.completions === undefined) return succeeded > 0 ? active.length : parallelism;
  return Math.min(parallelism, Math.max(0, spec.completions - succeeded));
}

function freeIndexes({ spec }: Job, { active, completed }: Tally, count: number): readonly (number | undefined)[] {
  if (spec?.completionMode !== 'Indexed') return Array.from({ length: count }, () => undefined);
  const taken = new Set(active.map(indexOf));
  const free: number[] = [];
  for (let index = 0; index < (spec.completions ?? 0) && free.length < count; index++) {
    if (!completed.has(index) && !taken.has(index)) free.push(index);
  }
  return free;
}

type Ending = Pick<Condition, 'type' | 'reason' | 'message'>;

function endingOf(
  job: Job,
  counts: Tally,
  pods: readonly Pod[],
  startTime: string | undefined,
  nowMs: number,
): Ending | undefined {
  if (isExhausted(job, counts)) {
    return { type: 'Failed', reason: 'BackoffLimitExceeded', message: 'Job has reached the specified backoff limit' };
  }
  if (deadlineInMs(job, startTime, nowMs) === 0) {
    return { type: 'Failed', reason: 'DeadlineExceeded', message: 'Job was active longer than specified deadline' };
  }
  return isOver(job, counts, pods) ? { type: 'Complete', reason: '', message: '' } : undefined;
}

function isExhausted({ spec }: Job, { failed, active }: Tally): boolean {
  const limit = spec?.backoffLimit ?? 6;
  const restarts = spec?.template.spec?.restartPolicy === 'OnFailure' ? restartsOf(active) : 0;
  return failed > limit || (restarts > 0 && restarts >= limit);
}

function isOver({ spec }: Job, { succeeded, active }: Tally, pods: readonly Pod[]): boolean {
  if (spec?.completions === undefined) return succeeded > 0 && active.length === 0;
  return succeeded >= spec.completions && (pods.length > 0 || active.length === 0);
}

const restartsOf = (pods: readonly Pod[]): number =>
  pods
    .flatMap(({ status }) => [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])])
    .reduce((sum, { restartCount }) => sum + restartCount, 0);

function ended(job: Job, counts: Tally, ending: Ending, startTime: string | undefined, nowMs: number): JobPlan {
  const now = formatTime(nowMs);
  const said = Object.fromEntries(Object.entries(ending).filter(([, text]) => text)) as Ending; // empty fields are left out
  const condition: Condition = { ...said, status: 'True', lastProbeTime: now, lastTransitionTime: now };
  const status = statusOf(
    job,
    { ...counts, active: [] },
    {
      ...(startTime && { startTime }),
      ...(ending.type === 'Complete' && { completionTime: now }),
      conditions: [...(job.status?.conditions ?? []), condition],
    },
  );
  return { create: [], remove: counts.active, status, ending };
}

function suspended(job: Job, counts: Tally, nowMs: number): JobPlan {
  const before = job.status?.conditions?.find(({ type }) => type === 'Suspended');
  const conditions = withSuspended(job, 'True', 'JobSuspended', 'Job suspended', nowMs);
  const status = statusOf(job, { ...counts, active: [] }, { conditions });
  const ending = { type: 'Suspended', reason: 'Suspended', message: 'Job suspended' };
  return { create: [], remove: counts.active, status, ...(before?.status !== 'True' && { ending }) };
}

function resumed(job: Job, nowMs: number): Condition[] | undefined {
  const before = job.status?.conditions?.find(({ type }) => type === 'Suspended');
  if (before?.status !== 'True') return job.status?.conditions;
  return withSuspended(job, 'False', 'JobResumed', 'Job resumed', nowMs);
}

function withSuspended(job: Job, status: string, reason: string, message: string, nowMs: number): Condition[] {
  const now = formatTime(nowMs);
  const before = job.status?.conditions?.find(({ type }) => type === 'Suspended');
  if (before?.status === status) return job.status?.conditions ?? [];
  const others = (job.status?.conditions ?? []).filter(({ type }) => type !== 'Suspended');
  return [...others, { type: 'Suspended', status, reason, message, lastProbeTime: now, lastTransitionTime: now }];
}

function statusOf(job: Job, counts: Tally, rest: Status): Status {
  const ready = counts.active.filter(isPodReady).length;
  const { startTime, completionTime, conditions } = rest;
  return {
    ...(startTime && { startTime }),
    ...(completionTime && { completionTime }),
    ...(conditions && { conditions }),
    ...(counts.active.length > 0 && { active: counts.active.length }),
    ...(counts.succeeded > 0 && { succeeded: counts.succeeded }),
    ...(counts.failed > 0 && { failed: counts.failed }),
    ...(job.spec?.completionMode === 'Indexed' &&
      counts.completed.size > 0 && { completedIndexes: formatIndexes(counts.completed) }),
    uncountedTerminatedPods: {},
    ready,
  };
}

/** Failing pods are made again after 10 s, 20 s, 40 s … since the last failure. */
function backOffMs(pods: readonly Pod[], failed: number, nowMs: number): number {
  if (failed === 0) return 0;
  const ends = pods.filter(({ status }) => status?.phase === 'Failed').map(endedMs);
  const last = Math.max(...ends.filter((ms) => ms !== undefined));
  if (!Number.isFinite(last)) return 0;
  return Math.max(0, last + Math.min(MAX_BACK_OFF_MS, BACK_OFF_MS * 2 ** (failed - 1)) - nowMs);
}

function endedMs({ status, metadata }: Pod): number {
  const finished = (status?.containerStatuses ?? []).map(({ state }) => parseTime(state?.terminated?.finishedAt) ?? 0);
  const notReady = parseTime(status?.conditions?.find(({ type }) => type === 'Ready')?.lastTransitionTime) ?? 0;
  return Math.max(parseTime(metadata.creationTimestamp) ?? 0, notReady, ...finished);
}

function deadlineInMs({ spec }: Job, startTime: string | undefined, nowMs: number): number | undefined {
  const startedMs = parseTime(startTime);
  if (spec?.activeDeadlineSeconds === undefined || startedMs === undefined) return undefined;
  return Math.max(0, startedMs + spec.activeDeadlineSeconds * 1000 - nowMs);
}

/** Milliseconds until an ended Job is to be removed; undefined: never. */
export function removalInMs(job: Job, nowMs: number): number | undefined {
  const end = endOf(job);
  const { ttlSecondsAfterFinished } = job.spec ?? {};
  if (end === undefined || ttlSecondsAfterFinished === undefined) return undefined;
  return Math.max(0, (parseTime(end.lastTransitionTime) ?? nowMs) + ttlSecondsAfterFinished * 1000 - nowMs);
}

function smallest(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
