import { controllerOf, keyOf } from '@slipway/apimachinery';
import { JobKind, type Pod, PodKind } from '@slipway/api';
import { allow, type ControllerRegistration, done, watchOf } from '@slipway/runtime';
import { isTracked, setTracked } from './pod-tracking.ts';

const BY_JOB = 'job-pod-release/job';

/**
 * Lets pods go that no Job will count any more: its Job is gone, is being deleted, or does not own the pod now. A Job
 * itself cannot do this, as it may be gone before its pods are.
 */
export const jobPodReleaseController: ControllerRegistration = {
  name: 'job-pod-release-controller',
  rules: allow('patch', PodKind),
  create({ client, informers }) {
    const pods = informers.for(PodKind);
    const jobs = informers.lister(JobKind);
    pods.addIndex(BY_JOB, (pod) => (isTracked(pod) ? [jobUidOf(pod)] : []));

    const isCounted = (pod: Pod): boolean => {
      const owner = controllerOf(pod);
      if (owner?.kind !== JobKind.kind) return false;
      const job = jobs.get({ namespace: pod.metadata.namespace ?? '', name: owner.name });
      return job?.metadata.uid === owner.uid && !job.metadata.deletionTimestamp;
    };

    return {
      kind: PodKind,
      watches: [watchOf(JobKind, ({ metadata }) => pods.lister.byIndex(BY_JOB, metadata.uid ?? '').map(keyOf))],
      predicate: ({ type, object }) => type !== 'deleted' && isTracked(object as Pod),
      reconciler: {
        async reconcile(key, signal) {
          const pod = pods.lister.get(key);
          if (pod && isTracked(pod) && !isCounted(pod)) await setTracked(client, pod, false, signal);
          return done;
        },
      },
    };
  },
};

const jobUidOf = (pod: Pod): string => controllerOf(pod)?.uid ?? '';
