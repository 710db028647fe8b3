import {
  type kubevirt,
  type PersistentVolumeClaim,
  type VirtualMachine,
  VirtualMachineCloneKind,
  VirtualMachineRestoreKind,
  VirtualMachineSnapshotKind,
} from '@slipway/api';
import {
  controllerReference,
  formatTime,
  ignoreAlreadyExists,
  ignoreNotFound,
  isAlreadyExists,
  keyOf,
  type ObjectKey,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { after, type Clock, done, type EventRecorder, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { hasFailed, isComplete } from '../vm-restore/restore-state.ts';
import type { VmRestore } from '../vm-restore/restore-plan.ts';
import { condition, statusPatch, withConditions } from '../vm-snapshot/objects.ts';
import type { VmSnapshot, VmSnapshotContent } from '../vm-snapshot/snapshot-state.ts';
import { clonePatches, targetName, temporaryRestoreName, temporarySnapshotName, type VmClone } from './clone-plan.ts';

export interface VmCloneDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly clones: Lister<VmClone>;
  readonly snapshots: Lister<VmSnapshot>;
  readonly contents: Lister<VmSnapshotContent>;
  readonly restores: Lister<VmRestore>;
  readonly vms: Lister<VirtualMachine>;
  readonly claims: Lister<PersistentVolumeClaim>;
}

type Status = NonNullable<VmClone['status']>;
const RECHECK_MS = 5_000;

/** Makes another VM of a VM or of a snapshot, by way of a snapshot and a restore that are taken away afterwards. */
export class VmCloneReconciler implements Reconciler {
  private readonly deps: VmCloneDeps;

  constructor(deps: VmCloneDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const clone = this.deps.clones.get(key);
    if (clone === undefined || clone.metadata.deletionTimestamp !== undefined || clone.status?.phase === 'Failed') return done;
    if (clone.status?.phase === 'Succeeded') return this.tidyUp(clone, signal);
    const snapshot = await this.snapshotFor(clone, signal);
    if (snapshot === undefined) return after(RECHECK_MS);
    if (snapshot.status?.phase === 'Failed')
      return this.fail(clone, 'SnapshotContentInvalid', `snapshot ${snapshot.metadata.name} failed`, signal);
    const content = this.contentOf(snapshot);
    if (snapshot.status?.readyToUse !== true || content === undefined) {
      const status = { ...clone.status, snapshotName: snapshot.metadata.name ?? '' };
      await this.progress(
        clone,
        { ...status, phase: 'SnapshotInProgress' },
        `snapshot ${snapshot.metadata.name} is not ready`,
        signal,
      );
      return done;
    }
    return this.restoreFrom(clone, snapshot, content, signal);
  }

  /** The source itself when it is a snapshot, else one of the VM; undefined when there is no source. */
  private async snapshotFor(clone: VmClone, signal: AbortSignal): Promise<VmSnapshot | undefined> {
    const { client, snapshots, vms, events } = this.deps;
    const namespace = clone.metadata.namespace ?? '';
    const { kind, name } = clone.spec.source;
    if (kind === 'VirtualMachineSnapshot') {
      const found = snapshots.get({ namespace, name });
      return found ?? this.sourceMissing(clone, signal);
    }
    const own = { namespace, name: temporarySnapshotName(clone) };
    const existing = snapshots.get(own);
    if (existing !== undefined) return existing;
    if (vms.get({ namespace, name }) === undefined) return this.sourceMissing(clone, signal);
    const snapshot: VmSnapshot = {
      apiVersion: 'snapshot.kubevirt.io/v1beta1',
      kind: 'VirtualMachineSnapshot',
      metadata: { ...own, ownerReferences: [controllerReference(clone, VirtualMachineCloneKind)] },
      spec: { source: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name } },
    };
    try {
      const made = await client.create(VirtualMachineSnapshotKind, snapshot, { signal });
      events.normal(clone, 'SnapshotCreated', `created snapshot ${own.name} for clone ${clone.metadata.name}`);
      return made;
    } catch (error) {
      if (isAlreadyExists(error)) return client.get(VirtualMachineSnapshotKind, own, { signal });
      throw error;
    }
  }

  private async sourceMissing(clone: VmClone, signal: AbortSignal): Promise<undefined> {
    const { kind, name } = clone.spec.source;
    const message = `${kind} ${name} does not exist`;
    if (clone.status?.conditions?.every(({ reason }) => reason !== message) !== false)
      this.deps.events.warning(clone, 'SourceDoesNotExist', message);
    await this.progress(clone, { ...clone.status, phase: 'Unknown' }, message, signal);
  }

  private contentOf({ metadata, status }: VmSnapshot): VmSnapshotContent | undefined {
    const name = status?.virtualMachineSnapshotContentName;
    return name === undefined ? undefined : this.deps.contents.get({ namespace: metadata.namespace ?? '', name });
  }

  private async restoreFrom(
    clone: VmClone,
    snapshot: VmSnapshot,
    content: VmSnapshotContent,
    signal: AbortSignal,
  ): Promise<Result> {
    const { restores, events, vms } = this.deps;
    const namespace = clone.metadata.namespace ?? '';
    const problem = contentProblem(content);
    if (problem !== undefined) return this.fail(clone, problem.reason, problem.message, signal);
    const restoreName = temporaryRestoreName(clone);
    const known = { ...clone.status, snapshotName: snapshot.metadata.name ?? '', restoreName };
    const restore = restores.get({ namespace, name: restoreName });
    if (restore === undefined) {
      events.normal(
        clone,
        'SnapshotReady',
        `snapshot ${snapshot.metadata.name} for clone ${clone.metadata.name} is ready to use`,
      );
      if (vms.get({ namespace, name: targetName(clone) }) !== undefined)
        return this.fail(clone, 'RestoreCreationFailed', `VirtualMachine ${targetName(clone)} exists already`, signal);
      await this.createRestore(clone, snapshot, content, signal);
      await this.progress(clone, { ...known, phase: 'RestoreInProgress' }, 'restore is in progress', signal);
      return done;
    }
    if (hasFailed(restore)) {
      const cause = restore.status?.conditions?.find(({ type }) => type === 'Failure')?.reason ?? 'the restore failed';
      return this.fail(clone, 'RestoreCreationFailed', cause, signal);
    }
    if (!isComplete(restore)) {
      await this.progress(clone, { ...known, phase: 'RestoreInProgress' }, 'restore is in progress', signal);
      return done;
    }
    const target = vms.get({ namespace, name: targetName(clone) });
    if (target === undefined) {
      await this.progress(clone, { ...known, phase: 'CreatingTargetVM' }, 'creating the target', signal);
      return after(RECHECK_MS);
    }
    return this.succeed(clone, known, target, signal);
  }

  private async createRestore(
    clone: VmClone,
    snapshot: VmSnapshot,
    content: VmSnapshotContent,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, events } = this.deps;
    const name = temporaryRestoreName(clone);
    const source = content.spec.source.virtualMachine ?? {};
    const restore: VmRestore = {
      apiVersion: 'snapshot.kubevirt.io/v1beta1',
      kind: 'VirtualMachineRestore',
      metadata: {
        name,
        namespace: clone.metadata.namespace ?? '',
        ownerReferences: [controllerReference(clone, VirtualMachineCloneKind)],
      },
      spec: {
        target: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: targetName(clone) },
        virtualMachineSnapshotName: snapshot.metadata.name ?? '',
        ...(clone.spec.volumeNamePolicy === 'PrefixTargetName' && { volumeRestorePolicy: 'PrefixTargetName' }),
        patches: clonePatches(clone, source),
      },
    };
    await client.create(VirtualMachineRestoreKind, restore, { signal }).catch(ignoreAlreadyExists);
    events.normal(clone, 'RestoreCreated', `created restore ${name} for clone ${clone.metadata.name}`);
  }

  private async succeed(clone: VmClone, status: Status, target: VirtualMachine, signal: AbortSignal): Promise<Result> {
    const { events, clock } = this.deps;
    const name = target.metadata.name ?? '';
    events.normal(clone, 'RestoreReady', `restore ${status.restoreName} for clone ${clone.metadata.name} is ready`);
    events.normal(clone, 'TargetVMCreated', `created target VM ${name} for clone ${clone.metadata.name}`);
    const now = formatTime(clock.now());
    const conditions = [condition('Progressing', false, 'Ready'), condition('Ready', true, 'Ready')];
    const next = { ...status, phase: 'Succeeded', targetName: name, creationTime: now };
    await this.write(clone, { ...next, conditions: withConditions(status.conditions, conditions, now) }, signal);
    return this.tidyUp({ ...clone, status: next }, signal);
  }

  /** What was only a means goes away once the new claims have their own volumes. */
  private async tidyUp(clone: VmClone, signal: AbortSignal): Promise<Result> {
    const { client, restores, snapshots, claims, events } = this.deps;
    const namespace = clone.metadata.namespace ?? '';
    const restore = restores.get({ namespace, name: temporaryRestoreName(clone) });
    const snapshot = snapshots.get({ namespace, name: temporarySnapshotName(clone) });
    const isBound = ({ persistentVolumeClaim: name }: kubevirt.VolumeRestore): boolean =>
      claims.get({ namespace, name })?.status?.phase === 'Bound';
    if (restore !== undefined && !(restore.status?.restores ?? []).every(isBound)) return after(RECHECK_MS);
    if (restore !== undefined && restore.metadata.deletionTimestamp === undefined) {
      events.normal(clone, 'PVCBound', `all PVCs for clone ${clone.metadata.name} are bound`);
      await client.delete(VirtualMachineRestoreKind, keyOf(restore), { signal }).catch(ignoreNotFound);
    }
    if (snapshot !== undefined && snapshot.metadata.deletionTimestamp === undefined) {
      await client.delete(VirtualMachineSnapshotKind, keyOf(snapshot), { signal }).catch(ignoreNotFound);
      events.normal(clone, 'SnapshotDeleted', `deleted snapshot ${snapshot.metadata.name} for clone ${clone.metadata.name}`);
    }
    const stored = this.deps.clones.get(keyOf(clone));
    const { snapshotName: _, restoreName: __, ...status } = stored?.status ?? {};
    // a status that has not come back yet brings this clone here again
    if (stored !== undefined && status.phase === 'Succeeded') await this.write(stored, status, signal);
    return done;
  }

  private async fail(clone: VmClone, reason: string, message: string, signal: AbortSignal): Promise<Result> {
    const { events, clock } = this.deps;
    events.warning(clone, reason, message);
    const conditions = [condition('Progressing', false, message), condition('Ready', false, message)];
    const now = formatTime(clock.now());
    const next = { ...clone.status, phase: 'Failed', conditions: withConditions(clone.status?.conditions, conditions, now) };
    await this.write(clone, next, signal);
    return done;
  }

  private async progress(clone: VmClone, status: Status, reason: string, signal: AbortSignal): Promise<void> {
    const conditions = [condition('Progressing', true, reason), condition('Ready', false, reason)];
    const now = formatTime(this.deps.clock.now());
    await this.write(clone, { ...status, conditions: withConditions(status.conditions, conditions, now) }, signal);
  }

  private async write(clone: VmClone, status: Status, signal: AbortSignal): Promise<void> {
    const patch = statusPatch(clone.status, status);
    if (patch === undefined) return;
    await this.deps.client
      .patch(VirtualMachineCloneKind, keyOf(clone), patch, { type: 'merge', subresource: 'status', signal })
      .catch(ignoreNotFound);
  }
}

/** Why the content cannot become another VM. */
function contentProblem({ spec, status }: VmSnapshotContent): { reason: string; message: string } | undefined {
  const vm = spec.source.virtualMachine;
  if (vm?.spec === undefined) return { reason: 'SnapshotContentInvalid', message: 'snapshot content is invalid' };
  const { devices, firmware } = vm.spec.template.spec?.domain ?? { devices: {} };
  if (devices.tpm?.persistent === true || firmware?.bootloader?.efi?.persistent === true)
    return {
      reason: 'SourceVMWithBackendStorageInvalid',
      message: 'source VM has persistent EFI variables or a persistent TPM, which cannot be cloned',
    };
  const ready = new Set((status?.volumeSnapshotStatus ?? []).map(({ volumeSnapshotName }) => volumeSnapshotName));
  const lost = (spec.volumeBackups ?? []).find(({ volumeSnapshotName = '' }) => !ready.has(volumeSnapshotName));
  return lost && { reason: 'VMVolumeSnapshotsInvalid', message: `volume ${lost.volumeName} has no snapshot` };
}
