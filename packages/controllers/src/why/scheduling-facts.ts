import type { KubeObject } from '@slipway/apimachinery';
import type {
  Namespace,
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  PodDisruptionBudget,
  StorageClass,
  VolumeSnapshot,
  VolumeSnapshotContent,
} from '@slipway/api';
import type { SchedulingFacts } from '../scheduler/explain-scheduling.ts';
import { volumesOf } from '../scheduler/pod-volumes.ts';
import { isFinished } from '../scheduler/resources.ts';

/** Everything in a cluster that a pod's place can depend on, as lists. */
export interface ClusterLists {
  readonly nodes: readonly Node[];
  readonly pods: readonly Pod[];
  readonly namespaces: readonly Namespace[];
  readonly claims: readonly PersistentVolumeClaim[];
  readonly volumes: readonly PersistentVolume[];
  readonly storageClasses: readonly StorageClass[];
  readonly snapshots: readonly VolumeSnapshot[];
  readonly snapshotContents: readonly VolumeSnapshotContent[];
  readonly budgets: readonly PodDisruptionBudget[];
}

/** What the scheduler would know about a pod now. Pure. */
export function schedulingFactsOf(pod: Pod, lists: ClusterLists): SchedulingFacts {
  const named = <T extends KubeObject>(all: readonly T[], name: string, namespace?: string): T | undefined =>
    all.find(({ metadata }) => metadata.name === name && (namespace === undefined || metadata.namespace === namespace));
  const on = (nodeName: (other: Pod) => string | undefined) =>
    lists.pods.flatMap((other) => {
      const node = named(lists.nodes, nodeName(other) ?? '');
      return node === undefined || isFinished(other) ? [] : [{ pod: other, node }];
    });
  return {
    nodes: lists.nodes,
    placed: on(({ spec }) => spec?.nodeName),
    nominated: on(({ spec, status }) => (spec?.nodeName ? undefined : status?.nominatedNodeName)),
    budgets: lists.budgets,
    namespace: (name) => named(lists.namespaces, name),
    volumes: volumesOf(pod, {
      claim: (namespace, name) => named(lists.claims, name, namespace),
      volume: (name) => named(lists.volumes, name),
      snapshot: (namespace, name) => named(lists.snapshots, name, namespace),
      snapshotContent: (name) => named(lists.snapshotContents, name),
      storageClass: (name) => named(lists.storageClasses, name),
      availableVolumes: (name) =>
        lists.volumes.filter(({ spec, status }) => (spec?.storageClassName ?? '') === name && status?.phase === 'Available'),
    }),
  };
}
