import { formatTime, parseTime } from '@slipway/apimachinery';
import type { Job, Pod } from '@slipway/api';
import { isPodReady } from '../workload/pod-state.ts';
import { formatIndexes, indexOf } from './completion-indexes.ts';
import { replacesEndedOnly, type Tally } from './pod-tracking.ts';

type Status = NonNullable<Job['status']>;
type Condition = NonNullable<Status['conditions']>[number];

const BACK_OFF_MS = 10_000;
const MAX_BACK_OFF_MS = 6 * 60_000;

export interface JobPlan {
  /** One per pod to make: its completion index, or undefined where there are none. */
  readonly create: readonly (number | undefined)[];
  /** Running pods of a Job that is over; they count as failed. */
  readonly stop?: readonly Pod[] | undefined;
  /** Running pods that are too many; they do not count. */
  readonly remove: readonly Pod[];
  readonly status: Status;
  /** Why the Job has just ended, stopped or gone on. */
  readonly ending?: Pick<Condition, 'type' | 'reason' | 'message'> | undefined;
  readonly retryInMs?: number | undefined;
}

/** A Job that is `Complete` or `Failed` never runs again. */
export const endOf = ({ status }: Job): Condition | undefined =>
  status?.conditions?.find(({ type, status: value }) => (type === 'Complete' || type === 'Failed') && value === 'True');

/** Decides whether a Job goes on, and with which pods, from what is known of their ends. */
export function planJob(job: Job, pods: readonly Pod[], counts: Tally, nowMs: number): JobPlan {
  if (endOf(job)) return { create: [], stop: counts.active, remove: [], status: statusOf(job, counts, job.status ?? {}) };
  const startTime = job.spec?.suspend ? undefined : (job.status?.startTime ?? formatTime(nowMs));
  const ending = decidedEnd(job) ?? endingOf(job, counts, pods, startTime, nowMs);
  if (ending) return over(job, counts, ending, startTime, nowMs);
  return job.spec?.suspend ? suspended(job, counts, nowMs) : running(job, counts, pods, startTime, nowMs);
}

function running(job: Job, counts: Tally, pods: readonly Pod[], startTime: string | undefined, nowMs: number): JobPlan {
  const conditions = resumed(job, nowMs);
  const isResumed = conditions !== undefined && job.status?.conditions !== conditions;
  const status = statusOf(job, counts, { ...(startTime && { startTime }), ...(conditions && { conditions }) });
  // a Job that wants to see its pods end replaces none before
  const leaving = replacesEndedOnly(job) ? counts.terminating : 0;
  const missing = wantedActive(job, counts) - counts.active.length;
  const surplus = missing > 0 ? -Math.max(0, missing - leaving) : -missing;
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

type Ending = Required<Pick<Condition, 'type' | 'reason' | 'message'>>;

function endingOf(
  job: Job,
  counts: Tally,
  pods: readonly Pod[],
  startTime: string | undefined,
  nowMs: number,
): Ending | undefined {
  if (counts.fatal !== undefined) return { type: 'Failed', reason: 'PodFailurePolicy', message: counts.fatal };
  if (isExhausted(job, counts)) {
    return { type: 'Failed', reason: 'BackoffLimitExceeded', message: 'Job has reached the specified backoff limit' };
  }
  if (deadlineInMs(job, startTime, nowMs) === 0) {
    return { type: 'Failed', reason: 'DeadlineExceeded', message: 'Job was active longer than specified deadline' };
  }
  return isOver(job, counts, pods) ? COMPLETED : undefined;
}

const COMPLETED: Ending = {
  type: 'Complete',
  reason: 'CompletionsReached',
  message: 'Reached expected number of succeeded pods',
};

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

/** How a Job ends whose pods still have to be counted; it is not decided twice. */
function decidedEnd({ status }: Job): Ending | undefined {
  const interim = status?.conditions?.find(({ type, status: value }) => INTERIM.has(type) && value === 'True');
  if (interim === undefined) return undefined;
  const { reason = '', message = '' } = interim;
  return { type: interim.type === 'FailureTarget' ? 'Failed' : 'Complete', reason, message };
}

const INTERIM = new Set(['FailureTarget', 'SuccessCriteriaMet']);

/** First says how the Job will end; says that it has ended when all its pods have, and are counted. */
function over(job: Job, counts: Tally, ending: Ending, startTime: string | undefined, nowMs: number): JobPlan {
  const now = formatTime(nowMs);
  const before = job.status?.conditions ?? [];
  const { reason, message } = ending;
  const said = (type: string): Condition => ({
    type,
    status: 'True',
    reason,
    message,
    lastProbeTime: now,
    lastTransitionTime: now,
  });
  const isSettled =
    counts.active.length + counts.terminating + counts.uncounted.succeeded.length + counts.uncounted.failed.length === 0;
  const interim = decidedEnd(job) ? [] : [said(ending.type === 'Failed' ? 'FailureTarget' : 'SuccessCriteriaMet')];
  const status = statusOf(job, withoutActive(counts), {
    ...(startTime && { startTime }),
    ...(isSettled && ending.type === 'Complete' && { completionTime: now }),
    conditions: [...before, ...interim, ...(isSettled ? [said(ending.type)] : [])],
  });
  return { create: [], stop: counts.active, remove: [], status, ...(isSettled && { ending }) };
}

/** The tally once the pods that run are on their way out. */
const withoutActive = (counts: Tally): Tally => ({
  ...counts,
  active: [],
  terminating: counts.terminating + counts.active.length,
});

function suspended(job: Job, counts: Tally, nowMs: number): JobPlan {
  const before = job.status?.conditions?.find(({ type }) => type === 'Suspended');
  const conditions = withSuspended(job, 'True', 'JobSuspended', 'Job suspended', nowMs);
  const status = statusOf(job, withoutActive(counts), { conditions });
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
  const { uncounted } = counts;
  const succeeded = counts.succeeded - uncounted.succeeded.length;
  const failed = counts.failed - uncounted.failed.length;
  return {
    ...(startTime && { startTime }),
    ...(completionTime && { completionTime }),
    ...(conditions && { conditions }),
    ...(counts.active.length > 0 && { active: counts.active.length }),
    ...(succeeded > 0 && { succeeded }),
    ...(failed > 0 && { failed }),
    ...(job.spec?.completionMode === 'Indexed' &&
      counts.completed.size > 0 && { completedIndexes: formatIndexes(counts.completed) }),
    uncountedTerminatedPods: {
      ...(uncounted.succeeded.length > 0 && { succeeded: [...uncounted.succeeded] }),
      ...(uncounted.failed.length > 0 && { failed: [...uncounted.failed] }),
    },
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
