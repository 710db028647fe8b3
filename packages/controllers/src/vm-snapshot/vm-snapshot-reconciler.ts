import {
  type ControllerRevision,
  ControllerRevisionKind,
  type DataVolume,
  isLocalProvisioner,
  type kubevirt,
  type PersistentVolumeClaim,
  type Pod,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineKind,
  VirtualMachineSnapshotContentKind,
  VirtualMachineSnapshotKind,
  type VolumeSnapshot,
  VolumeSnapshotKind,
} from '@slipway/api';
import {
  formatTime,
  hasFinalizer,
  ignoreAlreadyExists,
  ignoreNotFound,
  keyOf,
  type ObjectKey,
  parseTime,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import {
  after,
  type Clock,
  done,
  type EventRecorder,
  type Lister,
  type NodeConnector,
  type Reconciler,
  type Result,
} from '@slipway/runtime';
import { GuestRest } from './guest-rest.ts';
import { addFinalizer, removeFinalizer, statusPatch } from './objects.ts';
import { contentNameOf, contentStatus, renderContent, renderVolumeSnapshot } from './render-content.ts';
import {
  begun,
  deadlineOf,
  failed,
  isFinished,
  lockObstacle,
  progressing,
  progressOf,
  succeeded,
  type VmSnapshot,
  type VmSnapshotContent,
  VmSnapshotFinalizer,
} from './snapshot-state.ts';
import { type SourceVolumes, type StorageFacts, volumesOfMachine } from './source-volumes.ts';

export interface VmSnapshotDeps extends StorageFacts {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly nodes: NodeConnector;
  readonly snapshots: Lister<VmSnapshot>;
  readonly contents: Lister<VmSnapshotContent>;
  readonly vms: Lister<VirtualMachine>;
  readonly vmis: Lister<VirtualMachineInstance>;
  readonly dataVolumes: Lister<DataVolume>;
  readonly volumeSnapshots: Lister<VolumeSnapshot>;
  /** Pods that use a claim and have not ended. */
  readonly usersOf: (claim: PersistentVolumeClaim) => readonly Pod[];
}

const RECHECK_MS = 2_000;
/** Creation times are whole seconds. */
const PATIENCE_MS = 3_000;

/** Takes all volumes of a VM at one moment, with the guest's file systems at rest when its agent can do that. */
export class VmSnapshotReconciler implements Reconciler {
  private readonly deps: VmSnapshotDeps;
  private readonly rest: GuestRest;

  constructor(deps: VmSnapshotDeps) {
    this.deps = deps;
    this.rest = new GuestRest(deps);
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const known = this.deps.snapshots.get(key);
    if (known === undefined) return done;
    const content = this.deps.contents.get({ namespace: key.namespace, name: contentNameOf(known) });
    if (known.metadata.deletionTimestamp !== undefined) return this.remove(known, content, signal);
    if (isFinished(known)) return this.keep(known, content, signal);
    const source = { namespace: key.namespace, name: known.spec.source.name };
    const youngMs = this.youngMs(known);
    // who applies a VM and its snapshot together need not hear that one came a moment after the other
    if (youngMs > 0 && this.deps.vms.get(source) === undefined) return after(youngMs);
    const snapshot = await addFinalizer(
      this.deps.client,
      VirtualMachineSnapshotKind,
      known,
      VmSnapshotFinalizer.snapshot,
      signal,
    );
    const deadline = deadlineOf(snapshot);
    if (deadline !== undefined && this.deps.clock.now() >= deadline) return this.giveUp(snapshot, content, signal);
    const result = content === undefined ? await this.begin(snapshot, signal) : await this.goOn(snapshot, content, signal);
    return withDeadline(result, deadline, this.deps.clock.now());
  }

  /** A snapshot that has lost a volume is none any more. */
  private async keep(snapshot: VmSnapshot, content: VmSnapshotContent | undefined, signal: AbortSignal): Promise<Result> {
    await this.unlock(snapshot, signal);
    if (snapshot.status?.phase !== 'Succeeded' || content?.status?.readyToUse !== true) return done;
    const namespace = content.metadata.namespace ?? '';
    const { missing } = progressOf(content, (name) => this.deps.volumeSnapshots.get({ namespace, name }));
    return missing.length === 0 ? done : this.lose(snapshot, content, missing, signal);
  }

  /** How long a snapshot is still new. */
  private youngMs({ metadata }: VmSnapshot): number {
    return (parseTime(metadata.creationTimestamp) ?? 0) + PATIENCE_MS - this.deps.clock.now();
  }

  /** Until the source is locked and the content says what belongs to the snapshot. */
  private async begin(snapshot: VmSnapshot, signal: AbortSignal): Promise<Result> {
    const { client, vms, vmis, events } = this.deps;
    const source = { namespace: snapshot.metadata.namespace ?? '', name: snapshot.spec.source.name };
    const vm = vms.get(source);
    if (vm === undefined || vm.metadata.deletionTimestamp !== undefined)
      return this.wait(snapshot, 'Source does not exist', false, signal);
    const vmi = vmis.get(source);
    const volumes = volumesOfMachine(vm, vmi, this.deps);
    const obstacle = lockObstacle(snapshot.metadata.name ?? '', this.lockFacts(vm, vmi, volumes));
    if (obstacle !== undefined) {
      await this.wait(snapshot, `Source not locked: ${obstacle}`, false, signal);
      return after(RECHECK_MS);
    }
    await this.lock(snapshot, vm, signal);
    // without a guest or a disk it is over in a moment, and said once
    if (vmi !== undefined || volumes.included.length > 0)
      await this.write(snapshot, begun(snapshot, { vm, vmi, volumes }, this.now()), signal);
    const startRevision = await this.startRevision(vmi, signal);
    const content = renderContent(snapshot, { vm, vmi, startRevision, volumes });
    await client.create(VirtualMachineSnapshotContentKind, content, { signal }).catch(ignoreAlreadyExists);
    const message = `Successfully created VirtualMachineSnapshotContent ${content.metadata.name}`;
    events.normal(snapshot, 'SuccessfulVirtualMachineSnapshotContentCreate', message);
    return done;
  }

  /** With the status it has had since its source was locked, written or not. */
  private begun(snapshot: VmSnapshot): VmSnapshot {
    if (snapshot.status?.sourceUID !== undefined) return snapshot;
    const namespace = snapshot.metadata.namespace ?? '';
    const vm = this.deps.vms.get({ namespace, name: snapshot.spec.source.name });
    if (vm === undefined) return snapshot;
    const vmi = this.deps.vmis.get(keyOf(vm));
    const volumes = volumesOfMachine(vm, vmi, this.deps);
    return { ...snapshot, status: begun(snapshot, { vm, vmi, volumes }, this.now()) };
  }

  private lockFacts(vm: VirtualMachine, vmi: VirtualMachineInstance | undefined, volumes: SourceVolumes) {
    const namespace = vm.metadata.namespace ?? '';
    const filling = volumes.included.flatMap(({ claim }) => {
      const owner = claim.metadata.ownerReferences?.find(({ kind }) => kind === 'DataVolume');
      const dataVolume = owner && this.deps.dataVolumes.get({ namespace, name: owner.name });
      return dataVolume !== undefined && dataVolume.status?.phase !== 'Succeeded' ? [claim.metadata.name ?? ''] : [];
    });
    return { vm, vmi, volumes, filling, users: volumes.included.flatMap(({ claim }) => this.deps.usersOf(claim)) };
  }

  /** The record that the running instance was started from. */
  private async startRevision(
    vmi: VirtualMachineInstance | undefined,
    signal: AbortSignal,
  ): Promise<ControllerRevision | undefined> {
    const name = vmi?.status?.virtualMachineRevisionName;
    if (vmi === undefined || !name) return undefined;
    const key = { namespace: vmi.metadata.namespace ?? '', name };
    return this.deps.client.get(ControllerRevisionKind, key, { signal }).catch(ignoreNotFound);
  }

  private async goOn(snapshot: VmSnapshot, content: VmSnapshotContent, signal: AbortSignal): Promise<Result> {
    const find = (name: string): VolumeSnapshot | undefined =>
      this.deps.volumeSnapshots.get({ namespace: content.metadata.namespace ?? '', name });
    const progress = progressOf(content, find);
    const wasCut = content.status?.creationTime;
    if (progress.missing.length > 0) {
      if (wasCut !== undefined || this.wereMade(content)) return this.lose(snapshot, content, progress.missing, signal);
      await this.cut(snapshot, content, progress.missing, signal);
      return done;
    }
    if (progress.error !== undefined && progress.error.message !== snapshot.status?.error?.message)
      await this.write(snapshot, { ...snapshot.status, error: progress.error }, signal);
    if (!progress.areCut) {
      await this.writeContent(content, contentStatus(content, find, { creationTime: undefined, isReady: false }), signal);
      return done;
    }
    const known = this.begun(snapshot);
    const cut = wasCut === undefined ? await this.rest.end(known, signal) : known;
    const creationTime = wasCut ?? this.now();
    const isReady = progress.areReady;
    await this.writeContent(content, contentStatus(content, find, { creationTime, isReady }), signal);
    if (!isReady) return done;
    await this.write(snapshot, this.complete(cut, content, creationTime), signal);
    await this.unlock(snapshot, signal);
    return done;
  }

  private complete(snapshot: VmSnapshot, { metadata }: VmSnapshotContent, creationTime: string) {
    const status = succeeded(snapshot, creationTime, this.now());
    return { ...status, virtualMachineSnapshotContentName: metadata.name ?? '' };
  }

  private readonly wereMade = ({ status }: VmSnapshotContent): boolean =>
    status?.volumeSnapshotStatus?.some(({ creationTime }) => creationTime !== undefined) ?? false;

  /** Brings the guest to rest, once, and asks for all volume snapshots. */
  private async cut(
    snapshot: VmSnapshot,
    content: VmSnapshotContent,
    missing: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const { client, events } = this.deps;
    const backups = content.spec.volumeBackups ?? [];
    if (missing.length === backups.length) {
      const rested = await this.rest.begin(snapshot, this.mustPause(snapshot, backups), signal);
      if (rested.status !== undefined) await this.write(snapshot, rested.status, signal);
    }
    for (const backup of backups.filter(({ volumeSnapshotName }) => missing.includes(volumeSnapshotName ?? ''))) {
      const volumeSnapshot = renderVolumeSnapshot(
        content,
        backup,
        this.classOf(snapshot, backup.persistentVolumeClaim.metadata?.name),
      );
      await client.create(VolumeSnapshotKind, volumeSnapshot, { signal }).catch(ignoreAlreadyExists);
      const message = `Successfully created VolumeSnapshot ${volumeSnapshot.metadata.name}`;
      events.normal(snapshot, 'SuccessfulVolumeSnapshotCreate', message);
    }
  }

  /** Several volumes of this node's own class are cut within moments: the guest can stand still as long. */
  private mustPause(snapshot: VmSnapshot, backups: readonly kubevirt.VolumeBackup[]): boolean {
    const isLocal = ({ persistentVolumeClaim }: kubevirt.VolumeBackup): boolean => {
      const name = this.classOf(snapshot, persistentVolumeClaim.metadata?.name);
      return isLocalProvisioner(this.deps.classes.get({ namespace: '', name })?.driver);
    };
    return backups.length > 1 && backups.every(isLocal);
  }

  private classOf({ metadata, spec }: VmSnapshot, claimName: string | undefined): string {
    const namespace = metadata.namespace ?? '';
    const vm = this.deps.vms.get({ namespace, name: spec.source.name });
    const vmi = this.deps.vmis.get({ namespace, name: spec.source.name });
    const { included = [] } = vm === undefined ? {} : volumesOfMachine(vm, vmi, this.deps);
    const found = included.find(({ claim }) => claim.metadata.name === claimName);
    if (found === undefined) throw new Error(`Claim ${claimName} offers no snapshots any more`);
    return found.snapshotClass;
  }

  private async lose(
    snapshot: VmSnapshot,
    content: VmSnapshotContent,
    missing: readonly string[],
    signal: AbortSignal,
  ): Promise<Result> {
    const message = `VolumeSnapshots (${missing.join(',')}) missing`;
    this.deps.events.warning(snapshot, 'VolumeSnapshotMissing', message);
    const { error: _, ...status } = content.status ?? {};
    await this.writeContent(content, { ...status, readyToUse: false, error: { message, time: this.now() } }, signal);
    await this.write(snapshot, failed(snapshot, message, this.now()), signal);
    await this.rest.end(snapshot, signal).catch(() => {});
    await this.unlock(snapshot, signal);
    return done;
  }

  /** The time is over: all or nothing. */
  private async giveUp(snapshot: VmSnapshot, content: VmSnapshotContent | undefined, signal: AbortSignal): Promise<Result> {
    const status = failed(snapshot, 'snapshot deadline exceeded', this.now());
    this.deps.events.warning(snapshot, 'SnapshotDeadlineExceeded', 'snapshot deadline exceeded');
    await this.rest.end(snapshot, signal).catch(() => {}); // thaws by itself at the same deadline
    if (content !== undefined) await this.deleteContent(content, signal);
    await this.unlock(snapshot, signal);
    await this.write(snapshot, status, signal);
    return done;
  }

  private async remove(snapshot: VmSnapshot, content: VmSnapshotContent | undefined, signal: AbortSignal): Promise<Result> {
    if (!hasFinalizer(snapshot, VmSnapshotFinalizer.snapshot)) return done;
    if (!isFinished(snapshot)) await this.rest.end(snapshot, signal).catch(() => {});
    await this.unlock(snapshot, signal);
    if (snapshot.status?.phase !== 'Deleting')
      await this.write(
        snapshot,
        { ...progressing(snapshot, 'VM snapshot is deleting', false, this.now()), phase: 'Deleting' },
        signal,
      );
    const isKept = snapshot.spec.deletionPolicy === 'Retain' && content?.status?.readyToUse === true;
    if (content !== undefined && !isKept) {
      await this.deleteContent(content, signal);
      return done; // its end is an event
    }
    await removeFinalizer(this.deps.client, VirtualMachineSnapshotKind, snapshot, VmSnapshotFinalizer.snapshot, signal);
    return done;
  }

  private async deleteContent(content: VmSnapshotContent, signal: AbortSignal): Promise<void> {
    if (content.metadata.deletionTimestamp !== undefined) return;
    await this.deps.client.delete(VirtualMachineSnapshotContentKind, keyOf(content), { signal }).catch(ignoreNotFound);
  }

  private async lock(snapshot: VmSnapshot, vm: VirtualMachine, signal: AbortSignal): Promise<void> {
    const { client } = this.deps;
    const held = await addFinalizer(client, VirtualMachineKind, vm, VmSnapshotFinalizer.source, signal);
    if (held.status?.snapshotInProgress === snapshot.metadata.name) return;
    const patch = {
      metadata: { resourceVersion: held.metadata.resourceVersion },
      status: { snapshotInProgress: snapshot.metadata.name },
    };
    await client.patch(VirtualMachineKind, keyOf(vm), patch, { type: 'merge', subresource: 'status', signal });
  }

  private async unlock({ metadata, spec }: VmSnapshot, signal: AbortSignal): Promise<void> {
    const { client, vms } = this.deps;
    const key = { namespace: metadata.namespace ?? '', name: spec.source.name };
    const cached = vms.get(key);
    const isOurs = (vm: VirtualMachine | undefined): vm is VirtualMachine =>
      vm?.status?.snapshotInProgress === metadata.name || (vm !== undefined && isLoose(vm));
    const isLoose = (vm: VirtualMachine): boolean =>
      vm.status?.snapshotInProgress === undefined && hasFinalizer(vm, VmSnapshotFinalizer.source);
    if (!isOurs(cached)) return;
    const vm = await client.get(VirtualMachineKind, key, { signal }).catch(ignoreNotFound);
    if (!isOurs(vm)) return;
    const { resourceVersion } = vm.metadata;
    const patch = { metadata: { resourceVersion }, status: { snapshotInProgress: null } };
    const free = await client
      .patch(VirtualMachineKind, key, patch, { type: 'merge', subresource: 'status', signal })
      .catch(ignoreNotFound);
    if (free !== undefined) await removeFinalizer(client, VirtualMachineKind, free, VmSnapshotFinalizer.source, signal);
  }

  private async wait(snapshot: VmSnapshot, reason: string, isLocked: boolean, signal: AbortSignal): Promise<Result> {
    await this.write(snapshot, progressing(snapshot, reason, isLocked, this.now()), signal);
    return done;
  }

  /** A snapshot that was finished since it was read stays as it is: the patch is then refused as a conflict. */
  private async write(snapshot: VmSnapshot, status: NonNullable<VmSnapshot['status']>, signal: AbortSignal): Promise<void> {
    const change = statusPatch(snapshot.status, status);
    if (change === undefined) return;
    const patch = { metadata: { resourceVersion: snapshot.metadata.resourceVersion }, ...change };
    await this.deps.client
      .patch(VirtualMachineSnapshotKind, keyOf(snapshot), patch, { type: 'merge', subresource: 'status', signal })
      .catch(ignoreNotFound);
  }

  private async writeContent(
    content: VmSnapshotContent,
    status: NonNullable<VmSnapshotContent['status']>,
    signal: AbortSignal,
  ): Promise<void> {
    const patch = statusPatch(content.status, status);
    if (patch === undefined) return;
    await this.deps.client
      .patch(VirtualMachineSnapshotContentKind, keyOf(content), patch, { type: 'merge', subresource: 'status', signal })
      .catch(ignoreNotFound);
  }

  private now(): string {
    return formatTime(this.deps.clock.now());
  }
}

/** Looks again at the deadline at the latest. */
function withDeadline({ requeueAfterMs }: Result, deadline: number | undefined, nowMs: number): Result {
  const waits = [requeueAfterMs, deadline === undefined ? undefined : Math.max(1, deadline - nowMs)];
  const known = waits.filter((ms) => ms !== undefined);
  return known.length === 0 ? done : after(Math.min(...known));
}
