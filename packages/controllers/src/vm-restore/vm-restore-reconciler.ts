import {
  DataVolumeKind,
  type kubevirt,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineKind,
  VirtualMachineRestoreKind,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
} from '@slipway/api';
import {
  controllerOf,
  controllerReference,
  formatTime,
  ignoreNotFound,
  isAlreadyExists,
  keyOf,
  type ObjectKey,
  ownerReference,
  TerminalError,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { after, type Clock, done, type EventRecorder, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { isDeleting } from '../virtual-machine-instance/instance-state.ts';
import { addFinalizer, removeFinalizer, statusPatch } from '../vm-snapshot/objects.ts';
import type { VmSnapshot, VmSnapshotContent } from '../vm-snapshot/snapshot-state.ts';
import { isStateClaim } from '../vm-snapshot/source-volumes.ts';
import {
  claimFromSnapshot,
  droppedDataVolumes,
  LAST_RESTORE_UID,
  newVm,
  planRestores,
  RESTORE_NAME,
  restoredSpec,
  restoredVm,
  stateMarks,
  type VmRestore,
} from './restore-plan.ts';
import {
  brokenOff,
  completed,
  hasFailed,
  isComplete,
  isLockedBy,
  RESTORE_FINALIZER,
  restoring,
  targetReadiness,
} from './restore-state.ts';

export interface VmRestoreDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly restores: Lister<VmRestore>;
  readonly snapshots: Lister<VmSnapshot>;
  readonly contents: Lister<VmSnapshotContent>;
  readonly vms: Lister<VirtualMachine>;
  readonly vmis: Lister<VirtualMachineInstance>;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly volumeSnapshots: Lister<VolumeSnapshot>;
  readonly volumeContents: Lister<VolumeSnapshotContent>;
  /** A claim of this class waits for a pod before it gets its volume. */
  readonly waitsForConsumer: (claim: PersistentVolumeClaim) => boolean;
}

const RECHECK_MS = 2_000;

/** Another VM is never overwritten; one that an earlier attempt made is none. */
function checkTarget({ metadata }: VmRestore, vm: VirtualMachine, content: VmSnapshotContent): void {
  const isSource = vm.metadata.uid === content.spec.source.virtualMachine?.metadata?.uid;
  if (!isSource && vm.metadata.annotations?.[LAST_RESTORE_UID] !== metadata.uid)
    throw new TerminalError('TargetExists', `VirtualMachine ${vm.metadata.name} exists and is not the source of the snapshot`);
}

/** Puts a VM, with its disks, back into the state of a snapshot, or makes another one of it. */
export class VmRestoreReconciler implements Reconciler {
  private readonly deps: VmRestoreDeps;

  constructor(deps: VmRestoreDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const known = this.deps.restores.get(key);
    if (known === undefined) return done;
    const vm = this.deps.vms.get({ namespace: key.namespace, name: known.spec.target.name });
    if (known.metadata.deletionTimestamp !== undefined) {
      await this.unlock(known, vm, signal);
      await removeFinalizer(this.deps.client, VirtualMachineRestoreKind, known, RESTORE_FINALIZER, signal);
      return done;
    }
    if (isComplete(known) || hasFailed(known)) {
      await this.unlock(known, vm, signal);
      return done;
    }
    const restore = await addFinalizer(this.deps.client, VirtualMachineRestoreKind, known, RESTORE_FINALIZER, signal);
    try {
      return await this.restore(restore, vm, signal);
    } catch (error) {
      if (!(error instanceof TerminalError)) throw error;
      return this.fail(restore, vm, error.message, signal);
    }
  }

  private async restore(restore: VmRestore, vm: VirtualMachine | undefined, signal: AbortSignal): Promise<Result> {
    const namespace = restore.metadata.namespace ?? '';
    const content = this.contentOf(restore);
    if (content === undefined)
      return this.wait(restore, `VMSnapshot ${restore.spec.virtualMachineSnapshotName} is not ready`, signal);
    if (vm !== undefined) checkTarget(restore, vm, content);
    const target = vm === undefined ? undefined : await this.hold(restore, vm, signal);
    const vmi = this.deps.vmis.get({ namespace, name: restore.spec.target.name });
    const readiness = targetReadiness(restore, vmi === undefined, this.deps.clock.now());
    if (readiness.action === 'fail') throw new TerminalError('RestoreTargetNotReady', readiness.message);
    if (readiness.action !== 'go') {
      if (readiness.action === 'stop' && target !== undefined) await this.stop(target, signal);
      this.deps.events.normal(restore, 'RestoreTargetNotReady', 'Waiting for target to be ready');
      const { untilMs } = readiness.action === 'wait' ? readiness : {};
      await this.wait(restore, 'Waiting for target to be ready', signal);
      return after(untilMs === undefined ? RECHECK_MS : Math.max(1, untilMs - this.deps.clock.now()));
    }
    const restores = await this.planned(restore, content, signal);
    return this.putBack(restore, target, content, restores, signal);
  }

  private async putBack(
    restore: VmRestore,
    vm: VirtualMachine | undefined,
    content: VmSnapshotContent,
    restores: readonly kubevirt.VolumeRestore[],
    signal: AbortSignal,
  ): Promise<Result> {
    const planned = { ...restore, status: { ...restore.status, restores: [...restores] } };
    if (restore.spec.volumeRestorePolicy === 'InPlace' && !(await this.clearPlaces(planned, content, signal)))
      return this.waitFor(planned, 'Waiting for the old volumes to be deleted', signal);
    const claims = await this.makeClaims(planned, content, signal);
    const isPending = (claim: PersistentVolumeClaim): boolean =>
      claim.status?.phase !== 'Bound' && !this.deps.waitsForConsumer(claim);
    if (claims.some(isPending)) return this.waitFor(planned, 'Creating new PVCs', signal);
    const spec = restoredSpec(content, restores);
    const dropped = vm === undefined ? [] : droppedDataVolumes(vm, spec);
    const deletedDataVolumes = [...new Set([...(planned.status.deletedDataVolumes ?? []), ...dropped])];
    const told = { ...planned, status: { ...planned.status, ...(deletedDataVolumes.length > 0 && { deletedDataVolumes }) } };
    await this.write(restore, restoring(told, 'Updating target spec', this.now()), signal);
    const restored = await this.writeVm(restore, vm, content, spec, signal);
    for (const name of deletedDataVolumes) await this.deleteVolume(restore, name, signal);
    await this.own(restore, restored, claims, signal);
    await this.dropOldState(restore, restored, signal);
    this.deps.events.normal(
      restore,
      'VirtualMachineRestoreComplete',
      `Successfully completed VirtualMachineRestore ${restore.metadata.name}`,
    );
    await this.write(restore, completed(told, this.now()), signal);
    await this.unlock(restore, restored, signal);
    return done;
  }

  private contentOf({ metadata, spec }: VmRestore): VmSnapshotContent | undefined {
    const namespace = metadata.namespace ?? '';
    const snapshot = this.deps.snapshots.get({ namespace, name: spec.virtualMachineSnapshotName });
    if (snapshot?.status?.phase === 'Failed')
      throw new TerminalError('SnapshotFailed', `VMSnapshot ${spec.virtualMachineSnapshotName} failed and is invalid to use`);
    const name = snapshot?.status?.virtualMachineSnapshotContentName;
    if (name === undefined || snapshot?.status?.readyToUse !== true) return undefined;
    return this.deps.contents.get({ namespace, name });
  }

  /** Makes an existing target the restore's: it cannot be started until that is over, and takes the restore along. */
  private async hold(restore: VmRestore, vm: VirtualMachine, signal: AbortSignal): Promise<VirtualMachine> {
    const { client } = this.deps;
    const holder = vm.status?.restoreInProgress;
    if (holder !== undefined && holder !== restore.metadata.name) throw new Error(`restore "${holder}" in progress`);
    // one that a clone has made is the clone's
    if (controllerOf(restore) === undefined) {
      const ownerReferences = [...(restore.metadata.ownerReferences ?? []), controllerReference(vm, VirtualMachineKind)];
      await client.patch(VirtualMachineRestoreKind, keyOf(restore), { metadata: { ownerReferences } }, { type: 'merge', signal });
    }
    if (holder !== undefined) return vm;
    const patch = {
      metadata: { resourceVersion: vm.metadata.resourceVersion },
      status: { restoreInProgress: restore.metadata.name },
    };
    return client.patch(VirtualMachineKind, keyOf(vm), patch, { type: 'merge', subresource: 'status', signal });
  }

  private async stop(vm: VirtualMachine, signal: AbortSignal): Promise<void> {
    if (vm.spec.runStrategy === 'Halted' || vm.spec.running === false) return;
    const { namespace, name } = vm.metadata;
    const path = `/apis/subresources.kubevirt.io/v1/namespaces/${namespace}/virtualmachines/${name}/stop`;
    await this.deps.client.raw({ method: 'PUT', path, body: {}, signal });
  }

  /** The names are chosen once: a later attempt goes on with them. */
  private async planned(
    restore: VmRestore,
    content: VmSnapshotContent,
    signal: AbortSignal,
  ): Promise<readonly kubevirt.VolumeRestore[]> {
    if (restore.status?.restores !== undefined) return restore.status.restores;
    const restores = planRestores(restore, content);
    if (restores.length > 0)
      await this.write(restore, { ...restoring(restore, 'Creating new PVCs', this.now()), restores }, signal);
    return restores;
  }

  /** Deletes what has the names; true when nothing of the old is left. */
  private async clearPlaces(restore: VmRestore, content: VmSnapshotContent, signal: AbortSignal): Promise<boolean> {
    const { client, claims } = this.deps;
    const namespace = restore.metadata.namespace ?? '';
    let isClear = true;
    for (const { persistentVolumeClaim: name } of restore.status?.restores ?? []) {
      const claim = claims.get({ namespace, name });
      if (claim === undefined || claim.metadata.annotations?.[RESTORE_NAME] === restore.metadata.name) continue;
      isClear = false;
      const isKnown = content.spec.volumeBackups?.some(({ persistentVolumeClaim: old }) => old.metadata?.name === name);
      if (!isKnown) throw new TerminalError('RestoreVolumeExists', `PVC ${name} exists and is not part of the snapshot`);
      if (claim.metadata.deletionTimestamp !== undefined) continue;
      await client.delete(DataVolumeKind, { namespace, name }, { signal }).catch(ignoreNotFound);
      await client.delete(PersistentVolumeClaimKind, { namespace, name }, { signal }).catch(ignoreNotFound);
    }
    return isClear;
  }

  private async makeClaims(
    restore: VmRestore,
    content: VmSnapshotContent,
    signal: AbortSignal,
  ): Promise<readonly PersistentVolumeClaim[]> {
    const namespace = restore.metadata.namespace ?? '';
    const claims: PersistentVolumeClaim[] = [];
    for (const item of restore.status?.restores ?? []) {
      const found = this.deps.claims.get({ namespace, name: item.persistentVolumeClaim });
      if (found !== undefined && found.metadata.annotations?.[RESTORE_NAME] !== restore.metadata.name)
        throw new TerminalError('RestoreVolumeExists', `PVC ${item.persistentVolumeClaim} exists already: choose another name`);
      claims.push(found ?? (await this.makeClaim(restore, item, content, signal)));
    }
    return claims;
  }

  private async makeClaim(
    restore: VmRestore,
    item: kubevirt.VolumeRestore,
    content: VmSnapshotContent,
    signal: AbortSignal,
  ): Promise<PersistentVolumeClaim> {
    const { client, volumeSnapshots, volumeContents } = this.deps;
    const namespace = restore.metadata.namespace ?? '';
    const backup = content.spec.volumeBackups?.find(({ volumeName }) => volumeName === item.volumeName);
    const snapshot = volumeSnapshots.get({ namespace, name: item.volumeSnapshotName });
    if (backup === undefined || snapshot === undefined)
      throw new TerminalError('VolumeSnapshotMissing', `missing volumeSnapshot ${item.volumeSnapshotName}`);
    const name = snapshot.status?.boundVolumeSnapshotContentName ?? '';
    const override = restore.spec.volumeRestoreOverrides?.find(({ volumeName }) => volumeName === item.volumeName);
    const marks = stateMarks(restore.spec.target.name, backup, restore.status?.restores ?? []);
    const claim = claimFromSnapshot(
      { name: item.persistentVolumeClaim, namespace },
      { backup, snapshot, content: volumeContents.get({ namespace: '', name }) },
      {
        labels: { ...marks.labels, ...override?.labels },
        annotations: { ...marks.annotations, ...override?.annotations, [RESTORE_NAME]: restore.metadata.name ?? '' },
      },
    );
    return client.create(PersistentVolumeClaimKind, claim, { signal }).catch((error: unknown) => {
      if (isAlreadyExists(error)) return client.get(PersistentVolumeClaimKind, keyOf(claim), { signal });
      throw error;
    });
  }

  private async writeVm(
    restore: VmRestore,
    vm: VirtualMachine | undefined,
    content: VmSnapshotContent,
    spec: kubevirt.VirtualMachineSpec,
    signal: AbortSignal,
  ): Promise<VirtualMachine> {
    const { client } = this.deps;
    if (vm === undefined) {
      const made = newVm(restore, content, spec);
      return client.create(VirtualMachineKind, made, { signal }).catch((error: unknown) => {
        if (isAlreadyExists(error)) return client.get(VirtualMachineKind, keyOf(made), { signal });
        throw error;
      });
    }
    if (vm.metadata.annotations?.[LAST_RESTORE_UID] === restore.metadata.uid) return vm;
    const fresh = await client.get(VirtualMachineKind, keyOf(vm), { signal });
    const written = await client.update(VirtualMachineKind, restoredVm(fresh, spec, restore), { signal });
    if (written.status?.memoryDumpRequest === undefined) return written;
    const patch = { status: { memoryDumpRequest: null } };
    return client.patch(VirtualMachineKind, keyOf(vm), patch, { type: 'merge', subresource: 'status', signal });
  }

  private async deleteVolume({ metadata }: VmRestore, name: string, signal: AbortSignal): Promise<void> {
    const key = { namespace: metadata.namespace ?? '', name };
    const { client } = this.deps;
    const dataVolume = await client.get(DataVolumeKind, key, { signal }).catch(ignoreNotFound);
    if (dataVolume !== undefined) await client.delete(DataVolumeKind, key, { signal }).catch(ignoreNotFound);
    // a disk that an earlier restore made has no DataVolume
    const claim = dataVolume === undefined ? this.deps.claims.get(key) : undefined;
    if (claim?.metadata.annotations?.[RESTORE_NAME] !== undefined)
      await client.delete(PersistentVolumeClaimKind, key, { signal }).catch(ignoreNotFound);
  }

  /** The restored claims go with the VM, unless their owner wants to keep them. */
  private async own(
    restore: VmRestore,
    vm: VirtualMachine,
    claims: readonly PersistentVolumeClaim[],
    signal: AbortSignal,
  ): Promise<void> {
    if (restore.spec.volumeOwnershipPolicy === 'None') return;
    for (const claim of claims) {
      if (claim.metadata.ownerReferences?.some(({ uid }) => uid === vm.metadata.uid)) continue;
      const ownerReferences = [...(claim.metadata.ownerReferences ?? []), ownerReference(vm, VirtualMachineKind)];
      const patch = { metadata: { ownerReferences } };
      await this.deps.client.patch(PersistentVolumeClaimKind, keyOf(claim), patch, { type: 'merge', signal });
    }
  }

  /** Memory and firmware state of the VM before belong to disks that it has no more. */
  private async dropOldState(restore: VmRestore, vm: VirtualMachine, signal: AbortSignal): Promise<void> {
    const { client, claims } = this.deps;
    for (const claim of claims.ownedBy(vm.metadata.uid ?? '').filter(isStateClaim)) {
      if (claim.metadata.annotations?.[RESTORE_NAME] === restore.metadata.name || isDeleting(claim)) continue;
      await client.delete(PersistentVolumeClaimKind, keyOf(claim), { signal }).catch(ignoreNotFound);
    }
  }

  private async unlock(restore: VmRestore, vm: VirtualMachine | undefined, signal: AbortSignal): Promise<void> {
    if (vm === undefined || !isLockedBy(vm, restore)) return;
    const patch = { status: { restoreInProgress: null } };
    await this.deps.client
      .patch(VirtualMachineKind, keyOf(vm), patch, { type: 'merge', subresource: 'status', signal })
      .catch(ignoreNotFound);
  }

  private async fail(restore: VmRestore, vm: VirtualMachine | undefined, message: string, signal: AbortSignal): Promise<Result> {
    this.deps.events.warning(restore, 'VirtualMachineRestoreError', `VirtualMachineRestore encountered error ${message}`);
    await this.write(restore, brokenOff(restore, message, this.now()), signal);
    await this.unlock(restore, vm, signal);
    return done;
  }

  private async wait(restore: VmRestore, reason: string, signal: AbortSignal): Promise<Result> {
    await this.write(restore, restoring(restore, reason, this.now()), signal);
    return after(RECHECK_MS);
  }

  /** For something whose change is an event. */
  private async waitFor(restore: VmRestore, reason: string, signal: AbortSignal): Promise<Result> {
    const stored = this.deps.restores.get(keyOf(restore)) ?? restore;
    await this.write(stored, restoring(restore, reason, this.now()), signal);
    return after(RECHECK_MS);
  }

  private async write(restore: VmRestore, status: NonNullable<VmRestore['status']>, signal: AbortSignal): Promise<void> {
    const patch = statusPatch(restore.status, status);
    if (patch === undefined) return;
    await this.deps.client
      .patch(VirtualMachineRestoreKind, keyOf(restore), patch, { type: 'merge', subresource: 'status', signal })
      .catch(ignoreNotFound);
  }

  private now(): string {
    return formatTime(this.deps.clock.now());
  }
}
