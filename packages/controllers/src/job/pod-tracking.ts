import { isConflict, isNotFound, keyOf } from '@slipway/apimachinery';
import { type Job, type Pod, PodKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { isActive, isFinished } from '../workload/pod-state.ts';
import { indexOf, parseIndexes } from './completion-indexes.ts';
import { failureVerdict } from './failure-policy.ts';

/** Keeps an ended pod until its Job has counted it. */
export const TRACKING_FINALIZER = 'batch.kubernetes.io/job-tracking';

export const isTracked = ({ metadata }: Pod): boolean => metadata.finalizers?.includes(TRACKING_FINALIZER) ?? false;

/** What a Job knows of the ends of its pods. */
export interface Tally {
  readonly active: readonly Pod[];
  /** All ends, those that still have to move from `uncounted` into the counters included. */
  readonly succeeded: number;
  readonly failed: number;
  readonly completed: ReadonlySet<number>;
  /** Why the failure policy ends the Job. */
  readonly fatal: string | undefined;
  readonly terminating: number;
  readonly uncounted: { readonly succeeded: readonly string[]; readonly failed: readonly string[] };
  /** Pods whose end is in the status once this tally is written, so that nothing keeps them any more. */
  readonly release: readonly Pod[];
  /** Pods that have to be tracked and are not: adopted ones, and those of earlier versions. */
  readonly track: readonly Pod[];
}

/** Counts each end once: into `uncounted` while its pod is tracked, and into the counters when the pod is let go. */
export function tally(job: Job, pods: readonly Pod[]): Tally {
  const { completions = 0, completionMode } = job.spec ?? {};
  const isIndexed = completionMode === 'Indexed';
  const kept = new Set(pods.filter(isTracked).map(uidOf));
  const before = job.status?.uncountedTerminatedPods ?? {};
  const ended = pods.filter((pod) => isTracked(pod) && isEnded(job, pod));
  const succeededPods = ended.filter(({ status }) => status?.phase === 'Succeeded');
  const failures = ended
    .filter(({ status }) => status?.phase !== 'Succeeded')
    .map((pod) => ({ pod, verdict: failureVerdict(job.spec?.podFailurePolicy, pod) }));
  const failedPods = failures.filter(({ verdict }) => verdict?.action !== 'Ignore').map(({ pod }) => pod);

  const completed = new Set(parseIndexes(job.status?.completedIndexes, completions));
  if (isIndexed)
    for (const index of succeededPods.map(indexOf)) if (index !== undefined && index < completions) completed.add(index);

  const succeeded = isIndexed
    ? { ends: completed.size, waiting: [] }
    : counted(job.status?.succeeded, before.succeeded, succeededPods, kept);
  const failed = counted(job.status?.failed, before.failed, failedPods, kept);
  return {
    active: pods.filter(isActive),
    fatal: failures.find(({ verdict }) => verdict?.action === 'FailJob')?.verdict?.message,
    succeeded: succeeded.ends,
    failed: failed.ends,
    completed,
    terminating: pods.filter((pod) => !isFinished(pod) && !isActive(pod)).length,
    uncounted: { succeeded: succeeded.waiting, failed: failed.waiting },
    release: ended,
    track: pods.filter((pod) => isActive(pod) && !isTracked(pod)),
  };
}

/** Ends so far, and the pods among them that are still tracked. */
function counted(counter = 0, before: readonly string[] = [], ended: readonly Pod[], kept: ReadonlySet<string>) {
  const isKnown = new Set(before);
  const fresh = ended.map(uidOf).filter((uid) => !isKnown.has(uid));
  return { ends: counter + before.length + fresh.length, waiting: [...before.filter((uid) => kept.has(uid)), ...fresh] };
}

const uidOf = ({ metadata }: Pod): string => metadata.uid ?? '';

/** How a pod ends matters to a Job with a failure policy: it waits for that. */
export const replacesEndedOnly = ({ spec }: Job): boolean => spec?.podFailurePolicy !== undefined;

/** A pod on its way out has failed too, unless its Job wants to see it end first and somebody is there to end it. */
function isEnded(job: Job, pod: Pod): boolean {
  if (isFinished(pod)) return true;
  const { deletionTimestamp, deletionGracePeriodSeconds } = pod.metadata;
  if (!deletionTimestamp) return false;
  return !replacesEndedOnly(job) || !pod.spec?.nodeName || deletionGracePeriodSeconds === 0;
}

/** Adds or takes off the finalizer. A pod that is gone needs nothing; one that has just changed comes again. */
export async function setTracked(client: Client, pod: Pod, isWanted: boolean, signal: AbortSignal): Promise<void> {
  const { resourceVersion, uid } = pod.metadata;
  const others = (pod.metadata.finalizers ?? []).filter((name) => name !== TRACKING_FINALIZER);
  const finalizers = isWanted ? [...others, TRACKING_FINALIZER] : others;
  try {
    await client.patch(PodKind, keyOf(pod), { metadata: { uid, resourceVersion, finalizers } }, { type: 'merge', signal });
  } catch (error) {
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
}
