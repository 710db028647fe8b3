import {
  formatTime,
  isConflict,
  isNotFound,
  type KubeObject,
  keyString,
  type ObjectKey,
  type ResourceKind,
} from '@slipway/apimachinery';
import {
  type Namespace,
  type Node,
  type PersistentVolume,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  type PodDisruptionBudget,
  PodKind,
  type StorageClass,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
} from '@slipway/api';
import type { Client } from '@slipway/client';
import { after, type Clock, done, type EventRecorder, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { explainScheduling, type SchedulingFacts } from './explain-scheduling.ts';
import { isMakingRoom, planPreemption, type Preemption } from './plan-preemption.ts';
import type { PlacedPod } from './pod-facts.ts';
import { provisionerAnnotations, SELECTED_NODE } from '../persistent-volume/claim-annotations.ts';
import { type DelayedClaim, isReachable, volumesOf } from './pod-volumes.ts';
import { isFinished } from './resources.ts';
import { isSaid, type Wait, waitingStatus } from './waiting-status.ts';

export const SCHEDULER_NAME = 'default-scheduler';
export const BY_STORAGE_CLASS = 'scheduler/storage-class';
export const BY_WAITING = 'scheduler/waiting';

/** Even when no change of the cluster brings a pod back, it is tried again this often. */
const RETRY_MS = 60_000;

const GATED: Wait = {
  reason: 'SchedulingGated',
  message: 'Scheduling is blocked due to non-empty scheduling gates',
  isHopeless: false,
};

interface Binding extends KubeObject {
  target: { apiVersion: string; kind: string; name: string };
}
const BindingKind: ResourceKind<Binding> = { group: '', version: 'v1', kind: 'Binding', plural: 'pods', namespaced: true };

export interface SchedulerDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly pods: Lister<Pod>;
  readonly nodes: Lister<Node>;
  readonly namespaces: Lister<Namespace>;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly volumes: Lister<PersistentVolume>;
  readonly storageClasses: Lister<StorageClass>;
  readonly budgets: Lister<PodDisruptionBudget>;
  readonly snapshots: Lister<VolumeSnapshot>;
  readonly snapshotContents: Lister<VolumeSnapshotContent>;
}

/** True for pods this scheduler must find a node for. */
export function needsNode(pod: Pod): boolean {
  const { schedulerName = SCHEDULER_NAME, nodeName } = pod.spec ?? {};
  return schedulerName === SCHEDULER_NAME && !nodeName && !pod.metadata.deletionTimestamp && !isFinished(pod);
}

/** Gives each pod a node, volumes first. */
export class SchedulerReconciler implements Reconciler {
  private readonly deps: SchedulerDeps;
  /** Pods bound by us whose nodeName has not come back through the watch yet. */
  private readonly assumed = new Map<string, { readonly pod: Pod; readonly node: string }>();

  constructor(deps: SchedulerDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const pod = this.deps.pods.get(key);
    if (pod === undefined || !needsNode(pod)) {
      this.assumed.delete(keyString(key));
      return done;
    }
    if (this.assumed.get(keyString(key))?.pod.metadata.uid === pod.metadata.uid) return done;
    if (hasGates(pod)) {
      await this.refuse(pod, GATED, signal);
      return done;
    }
    const facts = this.facts(pod);
    // a moment from now the pod can be judged; a complaint now would only worry people
    if (facts.volumes.isBinding) return after(RETRY_MS);
    const { feasible, message, refusals } = explainScheduling(pod, facts);
    const best = feasible[0];
    if (best === undefined) {
      const preemption = planPreemption(pod, facts, refusals);
      if (preemption) await this.preempt(pod, preemption, signal);
      const isHopeless = preemption === undefined && !isMakingRoom(pod, facts);
      const wait = { reason: 'Unschedulable', message, isHopeless } as const;
      if (await this.refuse(pod, wait, signal)) this.deps.events.warning(pod, 'FailedScheduling', message);
      return after(RETRY_MS);
    }
    if (facts.volumes.delayed.length > 0) {
      await this.sendVolumes(facts.volumes.delayed, best.node, signal);
      return after(RETRY_MS);
    }
    await this.bind(pod, best.node, signal);
    return done;
  }

  private facts(pod: Pod): SchedulingFacts {
    const { nodes, pods, namespaces, claims, volumes, storageClasses, budgets } = this.deps;
    const nodeNamed = (name: string | undefined): Node | undefined => (name ? nodes.get({ namespace: '', name }) : undefined);
    const placed: PlacedPod[] = [];
    for (const other of pods.list()) {
      const node = nodeNamed(other.spec?.nodeName || this.assumedNode(other));
      if (node && !isFinished(other)) placed.push({ pod: other, node });
    }
    const nominated = pods.byIndex(BY_WAITING, 'yes').flatMap((other): PlacedPod[] => {
      const node = this.assumedNode(other) === undefined ? nodeNamed(other.status?.nominatedNodeName) : undefined;
      return node ? [{ pod: other, node }] : [];
    });
    return {
      nodes: nodes.list(),
      placed,
      nominated,
      budgets: budgets.list(),
      namespace: (name) => namespaces.get({ namespace: '', name }),
      volumes: volumesOf(pod, {
        claim: (namespace, name) => claims.get({ namespace, name }),
        volume: (name) => volumes.get({ namespace: '', name }),
        snapshot: (namespace, name) => this.deps.snapshots.get({ namespace, name }),
        snapshotContent: (name) => this.deps.snapshotContents.get({ namespace: '', name }),
        storageClass: (name) => storageClasses.get({ namespace: '', name }),
        availableVolumes: (name) =>
          volumes.byIndex(BY_STORAGE_CLASS, name).filter((volume) => volume.status?.phase === 'Available'),
      }),
    };
  }

  private assumedNode(pod: Pod): string | undefined {
    const assumed = this.assumed.get(keyString(keyParts(pod)));
    return assumed?.pod.metadata.uid === pod.metadata.uid ? assumed?.node : undefined;
  }

  /** Tells the provisioner, or the claim binder, where the volumes are needed. The pod follows when they are bound. */
  private async sendVolumes(delayed: readonly DelayedClaim[], nodeName: string, signal: AbortSignal): Promise<void> {
    const node = this.deps.nodes.get({ namespace: '', name: nodeName });
    for (const { claim, selectedNode, candidates, provisioner } of delayed) {
      if (selectedNode !== undefined) continue;
      const existing = node && candidates.find((volume) => isReachable(volume, node));
      if (existing) await this.reserve(existing, claim, signal);
      else {
        const annotations = { [SELECTED_NODE]: nodeName, ...(provisioner && provisionerAnnotations(provisioner)) };
        const patch = { metadata: { annotations } };
        await this.deps.client.patch(PersistentVolumeClaimKind, keyParts(claim), patch, { type: 'merge', signal });
      }
    }
  }

  private async reserve(volume: PersistentVolume, claim: PersistentVolumeClaim, signal: AbortSignal): Promise<void> {
    const { name = '', namespace = '', uid = '' } = claim.metadata;
    const claimRef = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', name, namespace, uid };
    await this.deps.client.update(PersistentVolumeKind, { ...volume, spec: { ...volume.spec, claimRef } }, { signal });
  }

  private async bind(pod: Pod, node: string, signal: AbortSignal): Promise<void> {
    const key = keyParts(pod);
    const { uid } = pod.metadata;
    this.assumed.set(keyString(key), { pod, node });
    try {
      const binding: Binding = {
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { ...key, ...(uid && { uid }) },
        target: { apiVersion: 'v1', kind: 'Node', name: node },
      };
      await this.deps.client.create(BindingKind, binding, { subresource: 'binding', signal });
    } catch (error) {
      this.assumed.delete(keyString(key));
      // deleted or bound meanwhile: the watch says what to do next
      if (isNotFound(error) || isConflict(error)) return;
      throw error;
    }
    this.deps.events.normal(pod, 'Scheduled', `Successfully assigned ${key.namespace}/${key.name} to ${node}`);
  }

  /** Ends the victims; their room brings the pod back. */
  private async preempt(pod: Pod, { node, victims }: Preemption, signal: AbortSignal): Promise<void> {
    const { client, clock, events } = this.deps;
    const nomination = { status: { nominatedNodeName: node } };
    await client.patch(PodKind, keyParts(pod), nomination, { type: 'merge', subresource: 'status', signal });
    const condition = {
      type: 'DisruptionTarget',
      status: 'True',
      reason: 'PreemptionByKubeScheduler',
      message: `Kube-scheduler: preempting to accommodate a higher priority pod: ${keyString(keyParts(pod))}`,
      lastTransitionTime: formatTime(clock.now()),
    };
    for (const victim of victims.filter(({ metadata }) => !metadata.deletionTimestamp)) {
      try {
        const patch = { status: { conditions: [condition] } };
        await client.patch(PodKind, keyParts(victim), patch, { type: 'strategic', subresource: 'status', signal });
        events.normal(victim, 'Preempted', `Preempted by pod ${pod.metadata.uid} on node ${node}`);
        await client.delete(PodKind, keyParts(victim), { preconditions: { uid: victim.metadata.uid ?? '' }, signal });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
  }

  /** Writes why the pod waits. Returns false when the pod said so before. */
  private async refuse(pod: Pod, wait: Wait, signal: AbortSignal): Promise<boolean> {
    const status = waitingStatus(pod, wait, this.deps.clock.now());
    if (status === undefined) return false;
    await this.deps.client.update(PodKind, { ...pod, status }, { subresource: 'status', signal });
    return !isSaid(pod, wait);
  }
}

const hasGates = (pod: Pod): boolean => (pod.spec?.schedulingGates?.length ?? 0) > 0;

const keyParts = ({ metadata }: KubeObject): ObjectKey => ({ namespace: metadata.namespace ?? '', name: metadata.name ?? '' });
