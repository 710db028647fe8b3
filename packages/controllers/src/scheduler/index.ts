import { deepEqual, keyOf, type ObjectKey } from '@slipway/apimachinery';
import {
  type Node,
  NamespaceKind,
  NodeKind,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodDisruptionBudgetKind,
  PodKind,
  StorageClassKind,
  VolumeSnapshotContentKind,
  VolumeSnapshotKind,
} from '@slipway/api';
import { allow, type ControllerRegistration, type InformerEvent, watchOf } from '@slipway/runtime';
import { claimNames } from './pod-volumes.ts';
import { isFinished } from './resources.ts';
import { BY_STORAGE_CLASS, BY_WAITING, needsNode, SCHEDULER_NAME, SchedulerReconciler } from './scheduler-reconciler.ts';

export { explainScheduling, type Refusal, type SchedulingExplanation, type SchedulingFacts } from './explain-scheduling.ts';
export type { PlacedPod } from './pod-facts.ts';
export { type PodVolumes, type VolumeFacts, volumesOf } from './pod-volumes.ts';
export { addAmounts, type Amounts, amountsOf, podRequests } from './resources.ts';

const BY_COMPANY = 'scheduler/company';
const BY_CLAIM = 'scheduler/claim';

/** Assigns pods to nodes. */
export const schedulerController: ControllerRegistration = {
  name: SCHEDULER_NAME,
  rules: [
    ...allow('delete', PodKind),
    ...allow('create', [PodKind, 'binding']),
    ...allow('update patch', [PodKind, 'status']),
    ...allow('patch', PersistentVolumeClaimKind),
    ...allow('update', PersistentVolumeKind),
  ],
  create({ client, events, clock, informers }) {
    const pods = informers.for(PodKind);
    pods.addIndex(BY_WAITING, (pod) => (needsNode(pod) ? ['yes'] : []));
    pods.addIndex(BY_COMPANY, (pod) => (needsNode(pod) && looksAtPods(pod) ? ['yes'] : []));
    pods.addIndex(BY_CLAIM, (pod) => (needsNode(pod) ? claimNames(pod).map((name) => `${pod.metadata.namespace}/${name}`) : []));
    informers.for(PersistentVolumeKind).addIndex(BY_STORAGE_CLASS, (volume) => [volume.spec?.storageClassName ?? '']);
    const waiting = (): readonly ObjectKey[] => pods.lister.byIndex(BY_WAITING, 'yes').map(keyOf);
    const waitingFor = (claim: PersistentVolumeClaim): readonly ObjectKey[] =>
      pods.lister.byIndex(BY_CLAIM, `${claim.metadata.namespace}/${claim.metadata.name}`).map(keyOf);
    return {
      kind: PodKind,
      concurrency: 8,
      watches: [
        watchOf(NodeKind, waiting, bringsRoom),
        watchOf(PodKind, waiting, leavesRoom),
        watchOf(PodKind, () => pods.lister.byIndex(BY_COMPANY, 'yes').map(keyOf), isCompany),
        watchOf(PersistentVolumeClaimKind, waitingFor),
        watchOf(PersistentVolumeKind, waiting, ({ type }) => type !== 'deleted'),
        watchOf(StorageClassKind, waiting),
      ],
      reconciler: new SchedulerReconciler({
        client,
        events,
        clock,
        pods: pods.lister,
        nodes: informers.lister(NodeKind),
        namespaces: informers.lister(NamespaceKind),
        claims: informers.lister(PersistentVolumeClaimKind),
        volumes: informers.lister(PersistentVolumeKind),
        storageClasses: informers.lister(StorageClassKind),
        budgets: informers.lister(PodDisruptionBudgetKind),
        snapshots: informers.lister(VolumeSnapshotKind),
        snapshotContents: informers.lister(VolumeSnapshotContentKind),
      }),
    };
  },
};

/** Heartbeats of a node change nothing for a waiting pod. */
function bringsRoom({ type, object, old }: InformerEvent<Node>): boolean {
  if (type !== 'updated') return type === 'added';
  const shape = ({ metadata, spec, status }: Node): string =>
    JSON.stringify([metadata.labels, spec?.taints, spec?.unschedulable, status?.allocatable]);
  return shape(object) !== shape(old);
}

function leavesRoom({ type, object, old }: InformerEvent<Pod>): boolean {
  return type === 'deleted' || (type === 'updated' && isFinished(object) && !isFinished(old));
}

const looksAtPods = ({ spec }: Pod): boolean =>
  spec?.affinity?.podAffinity !== undefined || (spec?.topologySpreadConstraints?.length ?? 0) > 0;

/** A pod that came to a node, or is labelled otherwise, may be what another one waits for. */
const isCompany = ({ type, object, old }: InformerEvent<Pod>): boolean =>
  type === 'updated' &&
  (object.spec?.nodeName !== old?.spec?.nodeName || !deepEqual(object.metadata.labels, old?.metadata.labels));
