import type {
  ControllerRevision,
  DataVolume,
  kubevirt,
  PersistentVolumeClaim,
  VirtualMachine,
  VirtualMachineInstance,
} from '@slipway/api';
import { Annotation, Finalizer, Reason, VirtualMachineInstanceKind, VirtualMachineKind } from '@slipway/api';
import { controllerOf, deepEqual, formatTime, isNotFound, keyOf, type ObjectKey, TerminalError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { after, type Clock, done, type EventRecorder, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { InferenceError } from '../instancetype/index.ts';
import { followVolumeRequests } from '../hotplug/volume-request-queue.ts';
import { identityOf } from '@slipway/virt';
import { claimedVolumes } from '../virtual-machine-instance/claims.ts';
import type { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { isDeleting, isFinal } from '../virtual-machine-instance/instance-state.ts';
import { type DataVolumeSyncDeps, syncDataVolumes } from './data-volume-sync.ts';
import { createInstance, type InstanceCreationDeps } from './instance-creation.ts';
import { planPower, type PowerPlan } from './power-plan.ts';
import { templateChange, type TemplateChange } from './restart-required.ts';
import { runStrategyOf } from './run-strategy.ts';
import { nextStartFailure } from './start-failure.ts';
import { hasStopRequest } from './state-change-requests.ts';
import { ownerReferenceTo, recordedSpec } from './start-revision.ts';
import type { SyncFailure } from './vm-conditions.ts';
import { vmStatus } from './vm-status.ts';

export interface VirtualMachineReconcilerDeps extends DataVolumeSyncDeps, InstanceCreationDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly random: () => number;
  readonly vms: FreshObjects<VirtualMachine>;
  readonly vmis: FreshObjects<VirtualMachineInstance>;
  readonly dataVolumes: FreshObjects<DataVolume>;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly revisions: Lister<ControllerRevision>;
  /** Which volumes a snapshot would hold. */
  readonly snapshotStatuses?: (vm: VirtualMachine, vmi: VirtualMachineInstance | undefined) => kubevirt.VolumeSnapshotStatus[];
  /** `configuration.vmRolloutStrategy` of the KubeVirt object. */
  readonly rolloutStrategy: () => 'LiveUpdate' | 'Stage';
  /** Whether hotpluggable volumes of a running instance follow the template (default) or requests in the status. */
  readonly volumesFollow?: () => 'template' | 'requests';
  /** `developerConfiguration.cpuAllocationRatio`; default 10. */
  readonly cpuAllocationRatio?: () => number;
  /** How long a new VM with nothing to do is left without a first status; default 0. */
  readonly quietStartMs?: number;
  /** Records instance type and preference as the VM uses them, and names the records in its status. */
  readonly pinTypes?: (vm: VirtualMachine, signal: AbortSignal) => Promise<VirtualMachine>;
  /** The VM with its types written into its template, when the cluster wants that instead of references. */
  readonly expandTypes?: (vm: VirtualMachine, signal: AbortSignal) => Promise<VirtualMachine | undefined>;
}

/** What one pass has done so far; becomes the status. */
interface Outcome {
  vmi: VirtualMachineInstance | undefined;
  isStarting: boolean;
  isStopping: boolean;
  /** The VM shall start as soon as its disks are there. */
  isHeldBack?: boolean;
  failure: SyncFailure | undefined;
  requeueAfterMs: number | undefined;
}

const DEFAULT_CPU_RATIO = 10;
const NO_CHANGE: TemplateChange = { restartReason: undefined, liveUpdate: undefined };

/** Keeps one VirtualMachineInstance alive or absent as the VirtualMachine's run strategy demands. */
export class VirtualMachineReconciler implements Reconciler {
  private readonly deps: VirtualMachineReconcilerDeps;
  /** When VMs that are still left alone were first seen, by uid. */
  private readonly created = new Map<string, number>();

  constructor(deps: VirtualMachineReconcilerDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const known = this.deps.vms.get(key);
    if (known === undefined) return done; // owner references clean up the rest
    if (isDeleting(known)) return this.remove(known, this.ownInstance(known), signal);

    const vm = await this.withFinalizer(known, signal);
    const outcome: Outcome = {
      vmi: await this.adoptedInstance(vm, signal),
      isStarting: false,
      isStopping: false,
      failure: undefined,
      requeueAfterMs: undefined,
    };
    if (outcome.vmi !== undefined && !isOwnedBy(outcome.vmi, vm)) {
      outcome.failure = { reason: Reason.failedCreate, message: `VMI ${key.name} exists already and belongs to somebody else` };
      outcome.vmi = undefined;
      await this.store(
        vm,
        outcome,
        { power: { action: 'none' }, requests: vm.status?.stateChangeRequests ?? [] },
        NO_CHANGE,
        signal,
      );
      return after(5_000);
    }
    return this.sync(vm, outcome, signal);
  }

  private async sync(known: VirtualMachine, outcome: Outcome, signal: AbortSignal): Promise<Result> {
    const vm = await this.withFollowedRequests(await this.withPinnedTypes(known, outcome, signal), outcome, signal);
    const storage =
      outcome.failure === undefined
        ? await syncDataVolumes(this.deps, vm, signal)
        : { areReady: false, failure: outcome.failure };
    outcome.failure = storage.failure;
    const withFailures = this.withStartFailure(vm, outcome.vmi);
    const plan = planPower(withFailures, outcome.vmi, this.deps.clock.now());
    await this.act(withFailures, plan, storage.areReady, outcome, signal);
    const change = outcome.vmi === undefined || outcome.isStarting ? NO_CHANGE : this.changeOf(vm, outcome.vmi);
    if (outcome.vmi !== undefined && !outcome.isStarting && !outcome.isStopping)
      outcome.vmi = await this.followTemplate(vm, outcome.vmi, change, signal);
    if (!outcome.isStopping) await this.releaseInstance(outcome.vmi, signal);
    const quietMs = this.quietMsLeft(vm, outcome, plan);
    if (quietMs > 0) return after(quietMs);
    await this.store(withFailures, outcome, plan, change, signal);
    if (outcome.failure !== undefined) throw new Error(`${outcome.failure.reason}: ${outcome.failure.message}`);
    return outcome.requeueAfterMs === undefined ? done : after(outcome.requeueAfterMs);
  }

  private async withFollowedRequests(vm: VirtualMachine, outcome: Outcome, signal: AbortSignal): Promise<VirtualMachine> {
    const followed = await followVolumeRequests(this.deps, vm, outcome.vmi, signal);
    outcome.vmi = followed.vmi;
    return followed.vm;
  }

  /** A VM whose types cannot be found does not start; it can still be stopped. */
  private async withPinnedTypes(vm: VirtualMachine, outcome: Outcome, signal: AbortSignal): Promise<VirtualMachine> {
    try {
      const { client, vms, pinTypes, expandTypes } = this.deps;
      const expanded = await expandTypes?.(vm, signal);
      const current = expanded ? vms.remember(await client.update(VirtualMachineKind, expanded, { signal })) : vm;
      return (await pinTypes?.(current, signal)) ?? current;
    } catch (error) {
      if (!(error instanceof TerminalError || error instanceof InferenceError)) throw error;
      const reason = error instanceof TerminalError ? error.reason : Reason.failedCreate;
      outcome.failure = { reason, message: error.message };
      this.deps.events.warning(vm, reason, error.message);
      return vm;
    }
  }

  /**
   * A new VM with nothing to do is left alone for a moment: a client that creates it and at once sends an update of what
   * it got back shall not run into a conflict with a status that says nothing new.
   */
  private quietMsLeft(vm: VirtualMachine, { vmi, failure }: Outcome, { power, requests }: PowerPlan): number {
    const isIdle = vmi === undefined && failure === undefined && power.action === 'none' && requests.length === 0;
    if (!isIdle || vm.status?.conditions !== undefined) return 0;
    const { created } = this;
    const uid = vm.metadata.uid ?? '';
    const nowMs = this.deps.clock.now();
    const sinceMs = created.get(uid) ?? nowMs;
    const leftMs = sinceMs + (this.deps.quietStartMs ?? 0) - nowMs;
    if (leftMs > 0) created.set(uid, sinceMs);
    else created.delete(uid);
    return leftMs;
  }

  private async act(
    vm: VirtualMachine,
    { power }: PowerPlan,
    areReady: boolean,
    outcome: Outcome,
    signal: AbortSignal,
  ): Promise<void> {
    switch (power.action) {
      case 'start': {
        outcome.isHeldBack = !areReady;
        if (!areReady) return;
        const created = await createInstance(this.deps, vm, power, signal);
        outcome.vmi = created.vmi;
        outcome.isStarting = created.vmi !== undefined;
        outcome.failure ??= created.failure;
        return;
      }
      case 'stop':
        if (outcome.vmi === undefined) return;
        outcome.vmi = await this.deleteInstance(vm, outcome.vmi, signal);
        outcome.isStopping = true;
        return;
      case 'wait':
        outcome.requeueAfterMs = power.retryInMs;
        return;
      case 'patchSpec': {
        const operations = [
          { op: 'test', path: power.path, value: power.from },
          { op: 'replace', path: power.path, value: power.to },
        ] as const;
        await this.deps.client.patch(VirtualMachineKind, keyOf(vm), operations, { type: 'json', signal });
        return;
      }
      case 'refuse':
        outcome.failure = { reason: Reason.failedCreate, message: power.message };
        return;
      default:
        return;
    }
  }

  /** A VM that is being deleted takes its instance along, unless its owner wants to keep it (cascade orphan). */
  private async remove(vm: VirtualMachine, vmi: VirtualMachineInstance | undefined, signal: AbortSignal): Promise<Result> {
    this.created.delete(vm.metadata.uid ?? '');
    const finalizers = vm.metadata.finalizers ?? [];
    const isOrphaning = finalizers.includes('orphan');
    const outcome: Outcome = { vmi, isStarting: false, isStopping: false, failure: undefined, requeueAfterMs: undefined };
    if (vmi !== undefined && !isOrphaning) {
      if (isDeleting(vmi)) await this.releaseInstance(vmi, signal);
      else outcome.vmi = await this.deleteInstance(vm, vmi, signal);
      await this.store(
        vm,
        outcome,
        { power: { action: 'none' }, requests: vm.status?.stateChangeRequests ?? [] },
        NO_CHANGE,
        signal,
      );
      return done;
    }
    if (!finalizers.includes(Finalizer.virtualMachineController)) return done;
    await this.patchFinalizers(
      vm,
      finalizers.filter((finalizer) => finalizer !== Finalizer.virtualMachineController),
      signal,
    );
    return done;
  }

  private async withFinalizer(vm: VirtualMachine, signal: AbortSignal): Promise<VirtualMachine> {
    const finalizers = vm.metadata.finalizers ?? [];
    if (finalizers.includes(Finalizer.virtualMachineController)) return vm;
    return (await this.patchFinalizers(vm, [...finalizers, Finalizer.virtualMachineController], signal)) ?? vm;
  }

  private async patchFinalizers(
    vm: VirtualMachine,
    finalizers: readonly string[],
    signal: AbortSignal,
  ): Promise<VirtualMachine | undefined> {
    const { resourceVersion } = vm.metadata;
    const patch = { metadata: { finalizers: finalizers.length === 0 ? null : finalizers, resourceVersion } };
    try {
      return this.deps.vms.remember(
        await this.deps.client.patch(VirtualMachineKind, keyOf(vm), patch, { type: 'merge', signal }),
      );
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  private ownInstance(vm: VirtualMachine): VirtualMachineInstance | undefined {
    const vmi = this.deps.vmis.get(keyOf(vm));
    return vmi !== undefined && isOwnedBy(vmi, vm) ? vmi : undefined;
  }

  /** The instance with the VM's name; one without controller becomes the VM's. */
  private async adoptedInstance(vm: VirtualMachine, signal: AbortSignal): Promise<VirtualMachineInstance | undefined> {
    const vmi = this.deps.vmis.get(keyOf(vm));
    if (vmi === undefined || controllerOf(vmi) !== undefined || isDeleting(vmi)) return vmi;
    const ownerReferences = [...(vmi.metadata.ownerReferences ?? []), ownerReferenceTo(vm)];
    const patch = { metadata: { ownerReferences, resourceVersion: vmi.metadata.resourceVersion } };
    return this.deps.vmis.remember(
      await this.deps.client.patch(VirtualMachineInstanceKind, keyOf(vmi), patch, { type: 'merge', signal }),
    );
  }

  private withStartFailure(vm: VirtualMachine, vmi: VirtualMachineInstance | undefined): VirtualMachine {
    const startFailure = nextStartFailure({
      previous: vm.status?.startFailure,
      runStrategy: runStrategyOf(vm),
      vmi,
      isStopRequested: vmi !== undefined && hasStopRequest(vm.status?.stateChangeRequests ?? [], vmi),
      nowMs: this.deps.clock.now(),
      random: this.deps.random(),
    });
    const { startFailure: _, ...status } = vm.status ?? {};
    return { ...vm, status: { ...status, ...(startFailure && { startFailure }) } };
  }

  private async deleteInstance(
    vm: VirtualMachine,
    vmi: VirtualMachineInstance,
    signal: AbortSignal,
  ): Promise<VirtualMachineInstance> {
    const { client, events, vmis, clock } = this.deps;
    const { uid } = vmi.metadata;
    try {
      await client.delete(VirtualMachineInstanceKind, keyOf(vmi), {
        ...(uid !== undefined && { preconditions: { uid } }),
        signal,
      });
    } catch (error) {
      if (isNotFound(error)) return vmi;
      events.warning(vm, Reason.failedDelete, `Error deleting virtual machine instance ${vmi.metadata.name}: ${String(error)}`);
      throw new Error(`Cannot delete the instance of ${vm.metadata.name}`, { cause: error });
    }
    const deletionTimestamp = formatTime(clock.now());
    vmis.rememberDeletion(vmi, deletionTimestamp);
    events.normal(vm, Reason.successfulDelete, `Stopped the virtual machine by deleting the virtual machine instance ${uid}`);
    return { ...vmi, metadata: { ...vmi.metadata, deletionTimestamp } };
  }

  /** Drops our finalizer of an ended instance that is being deleted; the VMI controller holds its own until the pod is gone. */
  private async releaseInstance(vmi: VirtualMachineInstance | undefined, signal: AbortSignal): Promise<void> {
    const finalizers = vmi?.metadata.finalizers ?? [];
    if (vmi === undefined || !isDeleting(vmi) || !isFinal(vmi) || !finalizers.includes(Finalizer.virtualMachineController))
      return;
    const left = finalizers.filter((finalizer) => finalizer !== Finalizer.virtualMachineController);
    const patch = { metadata: { finalizers: left.length === 0 ? null : left, resourceVersion: vmi.metadata.resourceVersion } };
    try {
      const patched = await this.deps.client.patch(VirtualMachineInstanceKind, keyOf(vmi), patch, { type: 'merge', signal });
      this.deps.vmis.remember(patched);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  private changeOf(vm: VirtualMachine, vmi: VirtualMachineInstance): TemplateChange {
    const name = vmi.status?.virtualMachineRevisionName;
    const isCurrent = vmi.metadata.annotations?.[Annotation.vmGeneration] === String(vm.metadata.generation);
    if (name === undefined || isCurrent || isFinal(vmi)) return NO_CHANGE;
    const started = recordedSpec(this.deps.revisions.get({ namespace: vm.metadata.namespace ?? '', name }));
    if (started === undefined) return NO_CHANGE;
    return templateChange({
      started,
      current: vm.spec,
      vmi,
      rolloutStrategy: this.deps.rolloutStrategy(),
      volumesFollow: this.deps.volumesFollow?.() ?? 'template',
      cpuAllocationRatio: this.deps.cpuAllocationRatio?.() ?? DEFAULT_CPU_RATIO,
      vmUid: identityOf(vm.metadata) ?? '',
    });
  }

  /** Brings live-updatable fields to the running instance and notes the generation once nothing is left to restart for. */
  private async followTemplate(
    vm: VirtualMachine,
    vmi: VirtualMachineInstance,
    change: TemplateChange,
    signal: AbortSignal,
  ): Promise<VirtualMachineInstance> {
    const generation = String(vm.metadata.generation ?? '');
    const noted = vmi.metadata.annotations?.[Annotation.vmGeneration];
    if (isDeleting(vmi) || isFinal(vmi) || noted === undefined || noted === generation) return vmi;
    const { restartReason, liveUpdate } = change;
    // what can change now does, also while something else waits for a restart
    if (restartReason !== undefined && liveUpdate === undefined) return vmi;
    const metadata = {
      ...(restartReason === undefined && { annotations: { [Annotation.vmGeneration]: generation } }),
      ...(liveUpdate && { resourceVersion: vmi.metadata.resourceVersion }),
    };
    const patch = { metadata, ...(liveUpdate && { spec: liveUpdate }) };
    return this.deps.vmis.remember(
      await this.deps.client.patch(VirtualMachineInstanceKind, keyOf(vmi), patch, { type: 'merge', signal }),
    );
  }

  private async store(
    vm: VirtualMachine,
    outcome: Outcome,
    { requests }: PowerPlan,
    { restartReason }: TemplateChange,
    signal: AbortSignal,
  ): Promise<void> {
    const status = vmStatus({
      ...outcome,
      vm,
      requests,
      startFailure: vm.status?.startFailure,
      restartReason,
      ...this.storageOf(vm),
      now: formatTime(this.deps.clock.now()),
    });
    const volumeSnapshotStatuses = this.deps.snapshotStatuses?.(vm, outcome.vmi) ?? [];
    if (volumeSnapshotStatuses.length > 0) status.volumeSnapshotStatuses = volumeSnapshotStatuses;
    else delete status.volumeSnapshotStatuses;
    const stored = this.deps.vms.get(keyOf(vm))?.status ?? {};
    if (deepEqual(status, stored)) return;
    try {
      const updated = await this.deps.client.update(VirtualMachineKind, { ...vm, status }, { subresource: 'status', signal });
      this.deps.vms.remember(updated);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  private storageOf(vm: VirtualMachine): { dataVolumes: readonly DataVolume[]; claims: readonly PersistentVolumeClaim[] } {
    const namespace = vm.metadata.namespace ?? '';
    const names = new Set(claimedVolumes(vm.spec.template.spec).map(({ claimName }) => claimName));
    for (const { metadata } of vm.spec.dataVolumeTemplates ?? []) names.add(metadata.name ?? '');
    const isThere = <T>(object: T | undefined): object is T => object !== undefined;
    return {
      dataVolumes: [...names].map((name) => this.deps.dataVolumes.get({ namespace, name })).filter(isThere),
      claims: [...names].map((name) => this.deps.claims.get({ namespace, name })).filter(isThere),
    };
  }
}

function isOwnedBy(vmi: VirtualMachineInstance, vm: VirtualMachine): boolean {
  return controllerOf(vmi)?.uid === vm.metadata.uid;
}
