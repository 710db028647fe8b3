import type { DataVolume, Node, PersistentVolumeClaim, Pod, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import {
  PersistentVolumeClaimKind,
  PodKind,
  Reason,
  UNPAUSED_GATE,
  VirtualMachineInstanceKind,
  VmiCondition,
  VmiPhase,
} from '@slipway/api';
import {
  controllerOf,
  formatTime,
  ignoreAlreadyExists,
  isAlreadyExists,
  isNotFound,
  keyOf,
  type ObjectKey,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { after, type Clock, done, type EventRecorder, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { claimedVolumes, type ExistingStorage } from './claims.ts';
import { type DynamicMetadataConfig, dynamicPodMetadata } from './dynamic-metadata.ts';
import type { FreshObjects } from './fresh-objects.ts';
import { isUnready } from './instance-conditions.ts';
import { type InstanceInput, planInstance } from './instance-plan.ts';
import { hasCondition, isDeleting } from './instance-state.ts';
import { currentPod, isGoingDown, launcherPods, podCondition } from './launcher-pod-state.ts';
import { podSuffix } from './pod-suffix.ts';
import { isStateOf, keepsState, stateClaim, type StateStorage } from './state-claim.ts';
import { vsockCid } from './vsock-cid.ts';

export interface VirtualMachineInstanceReconcilerDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly vmis: FreshObjects<VirtualMachineInstance>;
  readonly instances: Lister<VirtualMachineInstance>;
  readonly pods: Lister<Pod>;
  readonly freshPods: FreshObjects<Pod>;
  readonly vms: Lister<VirtualMachine>;
  readonly dataVolumes: Lister<DataVolume>;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly nodes: Lister<Node>;
  /** What decides where a VM's firmware state is kept. */
  readonly stateStorage: () => StateStorage;
  /** The launcher pod of an instance, without name. */
  readonly renderPod: (vmi: VirtualMachineInstance, storage: ExistingStorage) => Pod;
  /** Labels and annotations that pods of running instances take over; default: the descheduler's and Velero's. */
  readonly dynamicMetadata?: () => DynamicMetadataConfig;
}

/** Gives each instance its launcher pod, follows that pod until the node agent takes over, and cleans up at the end. */
export class VirtualMachineInstanceReconciler implements Reconciler {
  private readonly deps: VirtualMachineInstanceReconcilerDeps;

  constructor(deps: VirtualMachineInstanceReconcilerDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const vmi = this.deps.vmis.get(key);
    if (vmi === undefined) return done; // owner references clean up the rest
    const input = this.inputOf(vmi);
    const plan = planInstance(input);
    if (plan.createPod) await this.createPod(input, signal);
    await Promise.all(plan.deletePods.map((pod) => this.deletePod(vmi, pod, signal)));
    const stored = plan.update === undefined ? vmi : await this.store(plan.update, signal);
    if (plan.isNodeLost)
      this.deps.events.warning(
        vmi,
        Reason.nodeUnresponsive,
        `Node ${vmi.status?.nodeName} has stopped answering; the instance is given up`,
      );
    await this.followMetadata(stored, input.pods, signal);
    await this.openReadinessGate(stored, input.pods, signal);
    return plan.retryInMs === undefined ? done : after(plan.retryInMs);
  }

  private inputOf(vmi: VirtualMachineInstance): InstanceInput {
    const { pods, freshPods, vms, nodes, clock } = this.deps;
    const namespace = vmi.metadata.namespace ?? '';
    const known = launcherPods(vmi, pods.ownedBy(vmi.metadata.uid ?? ''));
    const justCreated = freshPods.get({ namespace, name: launcherPodName(vmi) });
    const isNew = justCreated !== undefined && !known.some((pod) => pod.metadata.uid === justCreated.metadata.uid);
    const nodeName = vmi.status?.nodeName;
    const owner = controllerOf(vmi);
    return {
      vmi,
      pods: isNew ? [...known, ...launcherPods(vmi, [justCreated])] : known,
      storage: this.storageOf(vmi),
      node: nodeName === undefined ? undefined : nodes.get({ namespace: '', name: nodeName }),
      unreadyNodes: nodeName === undefined ? nodes.list().filter(isUnready) : [],
      vsockCid: vsockCid(vmi, () => this.deps.instances.list()),
      hasOwnerVm: owner?.kind === 'VirtualMachine' && vms.get({ namespace, name: owner.name })?.metadata.uid === owner.uid,
      nowMs: clock.now(),
    };
  }

  private storageOf(vmi: VirtualMachineInstance): ExistingStorage {
    const claims = new Map<string, PersistentVolumeClaim>();
    const dataVolumes = new Map<string, DataVolume>();
    for (const { claimName } of claimedVolumes(vmi.spec)) {
      const key = { namespace: vmi.metadata.namespace ?? '', name: claimName };
      const claim = this.deps.claims.get(key);
      const dataVolume = this.deps.dataVolumes.get(key);
      if (claim !== undefined) claims.set(claimName, claim);
      if (dataVolume !== undefined) dataVolumes.set(claimName, dataVolume);
    }
    return { claims, dataVolumes };
  }

  private async createPod(input: InstanceInput, signal: AbortSignal): Promise<void> {
    const { client, events, freshPods, renderPod } = this.deps;
    const { vmi } = input;
    try {
      const stateClaimName = await this.ensureStateClaim(vmi, signal);
      const rendered = renderPod(vmi, { ...input.storage, ...(stateClaimName !== undefined && { stateClaimName }) });
      const pod = { ...rendered, metadata: { ...rendered.metadata, name: launcherPodName(vmi) } };
      const created = freshPods.remember(await client.create(PodKind, pod, { signal }));
      events.normal(vmi, Reason.successfulCreate, `Created virtual machine pod ${created.metadata.name}`);
    } catch (error) {
      if (isAlreadyExists(error) || signal.aborted) return;
      const message = error instanceof Error ? error.message : String(error);
      events.warning(vmi, Reason.failedCreate, `Error creating pod: ${message}`);
      const { update } = planInstance({ ...input, problem: { reason: Reason.failedCreate, message }, mayCreatePod: false });
      if (update !== undefined) await this.store(update, signal);
      throw new Error(`Cannot create the launcher pod of ${vmi.metadata.name}`, { cause: error });
    }
  }

  /** The claim for EFI variables and TPM state, made when there is none. */
  private async ensureStateClaim(vmi: VirtualMachineInstance, signal: AbortSignal): Promise<string | undefined> {
    if (!keepsState(vmi)) return undefined;
    const { client, claims, stateStorage } = this.deps;
    // one that a restore has put in its place has another name
    const owner = controllerOf(vmi)?.uid ?? vmi.metadata.uid ?? '';
    const known = claims.ownedBy(owner).find((claim) => isStateOf(claim, vmi));
    if (known !== undefined) return known.metadata.name;
    const claim = stateClaim(vmi, stateStorage());
    if (claims.get(keyOf(claim)) === undefined)
      await client.create(PersistentVolumeClaimKind, claim, { signal }).catch(ignoreAlreadyExists);
    return claim.metadata.name;
  }

  private async deletePod(vmi: VirtualMachineInstance, pod: Pod, signal: AbortSignal): Promise<void> {
    const { client, events, freshPods, clock } = this.deps;
    const { uid } = pod.metadata;
    if (freshPods.get(keyOf(pod))?.metadata.deletionTimestamp !== undefined) return;
    try {
      await client.delete(PodKind, keyOf(pod), { ...(uid !== undefined && { preconditions: { uid } }), signal });
      freshPods.rememberDeletion(pod, formatTime(clock.now()));
      events.normal(vmi, Reason.successfulDelete, `Deleted virtual machine pod ${pod.metadata.name}`);
    } catch (error) {
      if (isNotFound(error)) return;
      events.warning(vmi, Reason.failedDelete, `Error deleting pod ${pod.metadata.name}: ${String(error)}`);
      throw new Error(`Cannot delete the launcher pod ${pod.metadata.name}`, { cause: error });
    }
  }

  private async store(vmi: VirtualMachineInstance, signal: AbortSignal): Promise<VirtualMachineInstance> {
    const { client, vmis, clock } = this.deps;
    const isLast = vmi.metadata.deletionTimestamp !== undefined && (vmi.metadata.finalizers ?? []).length === 0;
    try {
      const stored = await client.update(VirtualMachineInstanceKind, vmi, { signal });
      if (!isLast) return vmis.remember(stored);
      vmis.rememberDeletion(stored, formatTime(clock.now()));
      return stored;
    } catch (error) {
      // whoever dropped the last finalizer was faster
      if (vmi.metadata.deletionTimestamp !== undefined && isNotFound(error)) return vmi;
      throw error;
    }
  }

  /** Labels and annotations that may change while the guest runs, on to the pod of the guest. */
  private async followMetadata(vmi: VirtualMachineInstance, pods: readonly Pod[], signal: AbortSignal): Promise<void> {
    const { client, freshPods, dynamicMetadata } = this.deps;
    for (const pod of pods) {
      if (isGoingDown(pod) || isDeleting(vmi)) continue;
      const { labels, annotations } = dynamicPodMetadata(vmi, freshPods.get(keyOf(pod)) ?? pod, dynamicMetadata?.());
      if (labels === undefined && annotations === undefined) continue;
      const patch = { metadata: { ...(labels && { labels }), ...(annotations && { annotations }) } };
      try {
        freshPods.remember(await client.patch(PodKind, keyOf(pod), patch, { type: 'merge', signal }));
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
  }

  /** The pod of a paused guest is not ready, so that no Service sends traffic to it. */
  private async openReadinessGate(vmi: VirtualMachineInstance, pods: readonly Pod[], signal: AbortSignal): Promise<void> {
    const { client, freshPods, clock } = this.deps;
    const pod = currentPod(vmi, pods);
    if (pod === undefined || vmi.status?.phase !== VmiPhase.running) return;
    const condition = gateCondition(freshPods.get(keyOf(pod)) ?? pod, hasCondition(vmi, VmiCondition.paused));
    if (condition === undefined) return;
    const status = { conditions: [{ ...condition, lastTransitionTime: formatTime(clock.now()) }] };
    try {
      const options = { type: 'strategic', subresource: 'status', signal } as const;
      freshPods.remember(await client.patch(PodKind, keyOf(pod), { status }, options));
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}

/** The condition behind the readiness gate, when it must change. */
function gateCondition(pod: Pod, isPaused: boolean) {
  const hasGate = (pod.spec?.readinessGates ?? []).some((gate) => gate.conditionType === UNPAUSED_GATE);
  const status = isPaused ? 'False' : 'True';
  if (!hasGate || podCondition(pod, UNPAUSED_GATE)?.status === status) return undefined;
  return isPaused
    ? { type: UNPAUSED_GATE, status, reason: 'Paused', message: 'the virtual machine is paused' }
    : { type: UNPAUSED_GATE, status, reason: 'NotPaused', message: 'the virtual machine is not paused' };
}

/** One name per instance, so that a repeated create cannot make a second pod. */
export function launcherPodName({ metadata }: VirtualMachineInstance): string {
  return `virt-launcher-${metadata.name}-${podSuffix(metadata.uid ?? '')}`;
}
