import { deepEqual, isNotFound, keyOf, keyString } from '@slipway/apimachinery';
import { type core, type Job, JobKind, type Pod } from '@slipway/api';
import {
  allow,
  after,
  type ControllerDeps,
  type ControllerRegistration,
  done,
  type Reconciler,
  type Result,
} from '@slipway/runtime';
import { OwnedPods, podFromTemplate, workloadRules } from '../workload/owned-pods.ts';
import { INDEX_ANNOTATION } from './completion-indexes.ts';
import { endOf, type JobPlan, planJob, removalInMs } from './plan-job.ts';
import { isTracked, setTracked, tally, TRACKING_FINALIZER } from './pod-tracking.ts';

/** Runs the pods of Jobs until enough of them have succeeded, and removes Jobs whose time after that is over. */
export const jobController: ControllerRegistration = {
  name: 'job-controller',
  rules: [...workloadRules(JobKind), ...allow('delete', JobKind)],
  create(deps) {
    const pods = new OwnedPods<Job>(deps, JobKind);
    const jobs = deps.informers.lister(JobKind);
    return { kind: JobKind, watches: pods.watches(jobs), reconciler: jobReconciler(deps, pods) };
  },
};

function jobReconciler({ client, clock, events, informers }: ControllerDeps, owned: OwnedPods<Job>): Reconciler {
  const jobs = informers.lister(JobKind);

  /** Versions of Jobs that are older than the status this has written: their counters are not to be built on. */
  const outdated = new Map<string, string | undefined>();

  const write = async (job: Job, status: JobPlan['status'], signal: AbortSignal): Promise<void> => {
    if (deepEqual(job.status ?? {}, status)) return;
    const { metadata } = await client.update(JobKind, { ...job, status }, { subresource: 'status', signal });
    const { resourceVersion } = job.metadata;
    if (metadata.resourceVersion !== resourceVersion) outdated.set(keyString(keyOf(job)), resourceVersion);
  };

  const act = async (job: Job, pods: readonly Pod[], signal: AbortSignal): Promise<Result> => {
    const counts = tally(job, pods);
    const plan = planJob(job, pods, counts, clock.now());
    const fresh = owned.isSettled(job) ? plan.create.map((index) => podOf(job, index)) : [];
    for (const pod of plan.remove) if (isTracked(pod)) await setTracked(client, pod, false, signal);
    const failure =
      (await owned.create(job, fresh, signal)) ?? (await owned.remove(job, [...plan.remove, ...(plan.stop ?? [])], signal));
    await write(job, withStarted(plan, failure ? 0 : fresh.length), signal);
    tell(job, plan);
    // only what the stored status accounts for may go
    for (const pod of counts.release) await setTracked(client, pod, false, signal);
    for (const pod of counts.track) if (!plan.remove.includes(pod)) await setTracked(client, pod, true, signal);
    if (failure) throw new Error(`${failure.reason}: ${failure.message}`);
    return plan.retryInMs === undefined ? done : after(plan.retryInMs);
  };

  const tell = (job: Job, { ending }: JobPlan): void => {
    if (ending?.type === 'Failed') events.warning(job, ending.reason ?? '', ending.message ?? '');
    else if (ending?.type === 'Complete') events.normal(job, 'Completed', 'Job completed');
    else if (ending) events.normal(job, ending.reason ?? '', ending.message ?? '');
  };

  return {
    async reconcile(key, signal) {
      const job = jobs.get(key);
      if (job === undefined) {
        owned.forget(key);
        outdated.delete(keyString(key));
        return done;
      }
      if (job.metadata.deletionTimestamp) return done;
      if (outdated.get(keyString(key)) === job.metadata.resourceVersion) return done; // its newer version comes
      outdated.delete(keyString(key));
      const removalMs = removalInMs(job, clock.now());
      if (removalMs === 0) return remove(client, job, signal);
      const result = await act(job, await owned.of(job, signal), signal);
      return endOf(job) && removalMs !== undefined ? after(removalMs) : result;
    },
  };
}

/** Pods that were just made count as active, so that the Job never looks idle. */
const withStarted = ({ status }: JobPlan, made: number): JobPlan['status'] =>
  made === 0 ? status : { ...status, active: (status.active ?? 0) + made };

async function remove(client: ControllerDeps['client'], job: Job, signal: AbortSignal): Promise<Result> {
  try {
    const preconditions = { uid: job.metadata.uid ?? '' };
    await client.delete(JobKind, keyOf(job), { propagationPolicy: 'Foreground', preconditions, signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  return done;
}

function podOf(job: Job, index: number | undefined): Pod {
  const pod = untrackedPodOf(job, index);
  const finalizers = [...(pod.metadata.finalizers ?? []).filter((name) => name !== TRACKING_FINALIZER), TRACKING_FINALIZER];
  return { ...pod, metadata: { ...pod.metadata, finalizers } };
}

function untrackedPodOf(job: Job, index: number | undefined): Pod {
  if (index === undefined) return podFromTemplate(job, JobKind, job.spec?.template);
  const name = `${job.metadata.name}-${index}`;
  const pod = podFromTemplate(job, JobKind, job.spec?.template, { generateName: `${name}-` });
  const numbered = (containers: readonly core.Container[] = []) =>
    containers.map((container) => ({ ...container, env: [...(container.env ?? []), indexVariable] }));
  const { initContainers } = pod.spec ?? {};
  return {
    ...pod,
    metadata: { ...pod.metadata, annotations: { ...pod.metadata.annotations, [INDEX_ANNOTATION]: String(index) } },
    spec: {
      ...pod.spec,
      hostname: name,
      containers: numbered(pod.spec?.containers),
      ...(initContainers && { initContainers: numbered(initContainers) }),
    },
  };
}

const indexVariable: core.EnvVar = {
  name: 'JOB_COMPLETION_INDEX',
  valueFrom: { fieldRef: { fieldPath: `metadata.annotations['${INDEX_ANNOTATION}']` } },
};
