import {
  controllerReference,
  formatTime,
  isAlreadyExists,
  isNotFound,
  type KubeObject,
  keyOf,
  parseTime,
} from '@slipway/apimachinery';
import { type CronJob, CronJobKind, type Job, JobKind } from '@slipway/api';
import {
  allow,
  after,
  type ControllerDeps,
  type ControllerRegistration,
  done,
  latestDue,
  owned,
  parseSchedule,
  type Reconciler,
  type Result,
  type Schedule,
} from '@slipway/runtime';
import { endOf } from '../job/plan-job.ts';
import { writeStatus } from '../workload/write-status.ts';

const SCHEDULED_AT = 'batch.kubernetes.io/cronjob-scheduled-timestamp';
const TOO_MANY_MISSED = 100;

/** Starts the Jobs of CronJobs when their time has come. */
export const cronJobController: ControllerRegistration = {
  name: 'cronjob-controller',
  rules: [...allow('update', [CronJobKind, 'status']), ...allow('get create delete', JobKind)],
  create: (deps) => ({
    kind: CronJobKind,
    watches: [owned(JobKind, CronJobKind)],
    concurrency: 1,
    reconciler: cronJobReconciler(deps),
  }),
};

function cronJobReconciler(deps: ControllerDeps): Reconciler {
  const { client, clock, events, informers } = deps;
  const cronJobs = informers.lister(CronJobKind);
  const jobs = informers.lister(JobKind);
  return {
    async reconcile(key, signal) {
      const cronJob = cronJobs.get(key);
      if (cronJob === undefined || cronJob.metadata.deletionTimestamp) return done;
      const mine = jobs.ownedBy(cronJob.metadata.uid ?? '');
      await trimHistory(deps, cronJob, mine, signal);
      let schedule: Schedule;
      try {
        schedule = parseSchedule(cronJob.spec?.schedule ?? '', cronJob.spec?.timeZone);
      } catch (error) {
        events.warning(cronJob, 'UnparseableSchedule', `unparseable schedule: ${String(error)}`);
        return done;
      }
      const nowMs = clock.now();
      const status = currentStatus(cronJob, mine);
      const started = cronJob.spec?.suspend ? status : await startDue(deps, cronJob, schedule, mine, status, signal);
      await writeStatus(client, CronJobKind, cronJob, started, signal);
      const nextMs = cronJob.spec?.suspend ? undefined : schedule.next(nowMs);
      return nextMs === undefined ? done : after(nextMs - nowMs);
    },
  };
}

type Status = NonNullable<CronJob['status']>;

function currentStatus({ status }: CronJob, jobs: readonly Job[]): Status {
  const active = jobs.filter((job) => !endOf(job)).map(referenceTo);
  const ends = jobs.filter((job) => endOf(job)?.type === 'Complete').map((job) => job.status?.completionTime ?? '');
  const lastSuccessfulTime = [status?.lastSuccessfulTime ?? '', ...ends].sort((a, b) => a.localeCompare(b)).at(-1);
  return {
    ...(active.length > 0 && { active }),
    ...(status?.lastScheduleTime && { lastScheduleTime: status.lastScheduleTime }),
    ...(lastSuccessfulTime && { lastSuccessfulTime }),
  };
}

const referenceTo = ({ metadata }: Job) => ({
  kind: 'Job',
  namespace: metadata.namespace ?? '',
  name: metadata.name ?? '',
  uid: metadata.uid ?? '',
  apiVersion: 'batch/v1',
  ...(metadata.resourceVersion && { resourceVersion: metadata.resourceVersion }),
});

async function startDue(
  deps: ControllerDeps,
  cronJob: CronJob,
  schedule: Schedule,
  jobs: readonly Job[],
  status: Status,
  signal: AbortSignal,
): Promise<Status> {
  const { clock, events } = deps;
  const { startingDeadlineSeconds, concurrencyPolicy } = cronJob.spec ?? {};
  const nowMs = clock.now();
  const sinceMs = parseTime(cronJob.status?.lastScheduleTime ?? cronJob.metadata.creationTimestamp) ?? nowMs;
  const deadlineMs = startingDeadlineSeconds === undefined ? 0 : nowMs - startingDeadlineSeconds * 1000;
  const { dueMs, missed } = latestDue(schedule, Math.max(sinceMs, deadlineMs), nowMs);
  if (dueMs === undefined) return status;
  if (missed >= TOO_MANY_MISSED) {
    events.warning(cronJob, 'TooManyMissedTimes', `too many missed start times: ${missed} or more; going on with the latest`);
  }
  const active = jobs.filter((job) => !endOf(job) && !job.metadata.deletionTimestamp);
  if (concurrencyPolicy === 'Forbid' && active.length > 0) {
    events.normal(
      cronJob,
      'JobAlreadyActive',
      'Not starting job because prior execution is running and concurrency policy is Forbid',
    );
    return status;
  }
  if (concurrencyPolicy === 'Replace') for (const job of active) await remove(deps, cronJob, job, 'SuccessfulDelete', signal);
  const started = await start(deps, cronJob, dueMs, signal);
  const kept = concurrencyPolicy === 'Replace' ? [] : (status.active ?? []);
  const others = kept.filter(({ uid }) => uid !== started.metadata.uid);
  return { ...status, active: [...others, referenceTo(started)], lastScheduleTime: formatTime(dueMs) };
}

async function start({ client, events }: ControllerDeps, cronJob: CronJob, dueMs: number, signal: AbortSignal): Promise<Job> {
  const wanted = jobOf(cronJob, dueMs);
  try {
    const job = await client.create(JobKind, wanted, { signal });
    events.normal(cronJob, 'SuccessfulCreate', `Created job ${job.metadata.name}`);
    return job;
  } catch (error) {
    // the name says for which time it is: started before a restart, or the cache is behind
    if (isAlreadyExists(error)) return client.get(JobKind, keyOf(wanted), { signal });
    events.warning(cronJob, 'FailedCreate', `Error creating job: ${error instanceof Error ? error.message : String(error)}`);
    throw error;
  }
}

function jobOf(cronJob: CronJob, dueMs: number): Job {
  const { name = '', namespace = '' } = cronJob.metadata;
  const template = cronJob.spec?.jobTemplate;
  // the published metadata type allows what our own names exactly
  const { labels, annotations } = (template?.metadata ?? {}) as KubeObject['metadata'];
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: `${name}-${Math.floor(dueMs / 60_000)}`,
      namespace,
      ...(labels && { labels: { ...labels } }),
      annotations: { ...annotations, [SCHEDULED_AT]: formatTime(dueMs) },
      ownerReferences: [controllerReference(cronJob, CronJobKind)],
    },
    ...(template?.spec && { spec: structuredClone(template.spec) }),
  };
}

/** Removes the oldest Jobs that ended well or badly beyond the limit of each. */
async function trimHistory(deps: ControllerDeps, cronJob: CronJob, jobs: readonly Job[], signal: AbortSignal): Promise<void> {
  const { successfulJobsHistoryLimit = 3, failedJobsHistoryLimit = 1 } = cronJob.spec ?? {};
  const limits = [
    ['Complete', successfulJobsHistoryLimit],
    ['Failed', failedJobsHistoryLimit],
  ] as const;
  for (const [type, limit] of limits) {
    const ended = jobs
      .filter((job) => endOf(job)?.type === type && !job.metadata.deletionTimestamp)
      .sort((a, b) => (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? ''));
    for (const job of ended.slice(0, Math.max(0, ended.length - limit)))
      await remove(deps, cronJob, job, 'SuccessfulDelete', signal);
  }
}

async function remove(
  { client, events }: ControllerDeps,
  cronJob: CronJob,
  job: Job,
  reason: string,
  signal: AbortSignal,
): Promise<Result> {
  try {
    await client.delete(JobKind, keyOf(job), {
      propagationPolicy: 'Background',
      preconditions: { uid: job.metadata.uid ?? '' },
      signal,
    });
    events.normal(cronJob, reason, `Deleted job ${job.metadata.name}`);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  return done;
}
