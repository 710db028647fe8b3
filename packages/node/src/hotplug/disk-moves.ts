import { COPY_REASON, type kubevirt, type VirtualMachineInstance, VmCondition } from '@slipway/api';
import { el, renderXml } from '@slipway/virt';
import type { ClaimSwap, ClaimSwaps } from '../contracts.ts';
import type { LiveDisk } from './live-domain.ts';
import { Patience } from './patience.ts';
import type { GuestNow, InstanceChange, SyncResult } from './sync-result.ts';
import type { VolumeSyncDeps } from './volume-sync.ts';
import { child } from './xml-tree.ts';

const POLL_MS = 300;
/** Progress is told in steps of this size, so that a long copy does not write the VMI all the time. */
const TOLD_PERCENT = 5;

export interface DiskMovesDeps extends Pick<VolumeSyncDeps, 'volumes' | 'pod' | 'sandbox' | 'events' | 'nowMs'> {
  /** Bytes a second that a copy may take; 0: as many as it can. */
  readonly copyBandwidth?: () => number;
}

/** What comes next for one disk that moves to another claim, or for one whose move was called off. */
export type MoveStep = 'copy' | 'wait' | 'pivot' | 'report' | 'stop' | 'nothing';

type MigratedVolume = kubevirt.StorageMigratedVolumeInfo;

/** The volumes of a guest that are to go on in other claims, as far as they have not yet. Pure. */
export function swapsOf({ status }: VirtualMachineInstance): readonly ClaimSwap[] {
  return (status?.migratedVolumes ?? []).flatMap((migrated) => {
    const { volumeName: volume, sourcePVCInfo, destinationPVCInfo } = migrated;
    const [from, to] = [sourcePVCInfo?.claimName, destinationPVCInfo?.claimName];
    return from && to && !hasArrived(status, migrated) ? [{ volume, from, to }] : [];
  });
}

const hasArrived = (status: VirtualMachineInstance['status'], { volumeName, destinationPVCInfo }: MigratedVolume): boolean =>
  claimOf(status, volumeName) === destinationPVCInfo?.claimName;

const claimOf = (status: VirtualMachineInstance['status'], volume: string): string | undefined =>
  status?.volumeStatus?.find(({ name }) => name === volume)?.persistentVolumeClaimInfo?.claimName;

/** The volume migration controller asks the agent to leave the guest where it is. Pure. */
export const isCalledOff = ({ status }: VirtualMachineInstance): boolean =>
  status?.conditions?.some(({ type, status: is }) => type === VmCondition.volumesChange && is === 'False') === true;

/** Pure. */
export function stepOf(disk: LiveDisk | undefined, path: string | undefined, isOff: boolean): MoveStep {
  if (disk === undefined) return 'nothing';
  if (disk.source === path) return 'report';
  const mirror = child(disk.element, 'mirror');
  if (isOff) return mirror === undefined ? 'nothing' : 'stop';
  if (mirror === undefined) return 'copy';
  const file = child(mirror, 'source')?.attributes['file'] ?? mirror.attributes['file'];
  if (file !== path) return 'stop';
  return mirror.attributes['ready'] === 'yes' ? 'pivot' : 'wait';
}

interface Move {
  readonly swap: ClaimSwap;
  readonly disk: LiveDisk | undefined;
  /** File of the new claim; undefined when that is gone, which hinders nobody from staying in the old one. */
  readonly path: string | undefined;
}

/** Copies disks of one running guest into other claims, and makes it go on there (ADR 0018). */
export class DiskMoves {
  private readonly deps: DiskMovesDeps;
  private readonly patience: Patience;
  /** Copies that were begun and whose end has not been seen. */
  private readonly begun = new Set<string>();

  constructor(deps: DiskMovesDeps) {
    this.deps = deps;
    this.patience = new Patience(deps.nowMs);
  }

  concerns(vmi: VirtualMachineInstance): boolean {
    return this.deps.volumes.swaps !== undefined && (swapsOf(vmi).length > 0 || isCalledOff(vmi));
  }

  async sync(guest: GuestNow, signal: AbortSignal): Promise<SyncResult> {
    const { swaps } = this.deps.volumes;
    const changes: InstanceChange[] = [];
    const problems: string[] = [];
    const wanted = swapsOf(guest.vmi);
    const isOff = isCalledOff(guest.vmi);
    let hasChanged = false;
    this.patience.keep(wanted.map(keyOf));
    if (swaps === undefined) return { changes, problems, retryInMs: undefined, hasChanged };
    for (const swap of wanted) {
      if (!this.patience.isDue(keyOf(swap))) {
        problems.push(...[this.patience.told(keyOf(swap))].flatMap((told) => told ?? []));
        continue;
      }
      try {
        const move = isOff ? await this.lookUp(swap, swaps, guest, signal) : await this.open(swap, swaps, guest, signal);
        const step = stepOf(move.disk, move.path, isOff);
        const change = await this.act(step, move, swaps, guest, signal);
        if (change !== undefined) changes.push(change);
        if (step !== 'copy') this.patience.forget(keyOf(swap));
        hasChanged ||= step === 'pivot' || step === 'stop';
      } catch (error) {
        signal.throwIfAborted();
        const problem = problemOf(swap, error);
        this.patience.failed(keyOf(swap));
        this.patience.tell(keyOf(swap), problem);
        problems.push(problem);
      }
    }
    if (isOff && problems.length === 0 && !hasChanged) {
      await swaps.abandon(this.deps.sandbox.podUid);
      changes.push(calledOff);
    }
    const isBusy = wanted.some((swap) => this.patience.isDue(keyOf(swap)));
    return { changes, problems, retryInMs: isBusy ? POLL_MS : this.patience.nextInMs(), hasChanged };
  }

  private async open(swap: ClaimSwap, swaps: ClaimSwaps, { vmi, live }: GuestNow, signal: AbortSignal): Promise<Move> {
    const disk = live.disks.find(({ name }) => name === swap.volume);
    const { path } = await swaps.open(vmi, swap, this.deps.pod(), this.deps.sandbox, signal);
    return { swap, disk, path };
  }

  /** Without asking for the new claim. */
  private async lookUp(swap: ClaimSwap, swaps: ClaimSwaps, { vmi, live }: GuestNow, signal: AbortSignal): Promise<Move> {
    const disk = live.disks.find(({ name }) => name === swap.volume);
    return { swap, disk, path: await swaps.pathOf(vmi, swap, signal) };
  }

  private async act(
    step: MoveStep,
    { swap, disk, path }: Move,
    swaps: ClaimSwaps,
    { vmi, libvirt, domain }: GuestNow,
    signal: AbortSignal,
  ): Promise<InstanceChange | undefined> {
    const { sandbox, events } = this.deps;
    const target = disk?.target ?? '';
    switch (step) {
      case 'copy':
        if (this.begun.delete(keyOf(swap)))
          throw new Error(
            'the copy broke off, as it does when a disk of either claim cannot be read or written; the guest goes on in its old claim, and the copy begins again',
          );
        await swaps.restart(vmi, swap, sandbox.podUid, signal);
        await libvirt.copyDisk(domain, target, destinationXml(path ?? ''), this.deps.copyBandwidth?.() ?? 0);
        this.begun.add(keyOf(swap));
        return undefined;
      case 'wait':
        return this.progress(swap, await libvirt.diskCopyProgress(domain, target), vmi);
      case 'pivot':
        // from here on the copy is as good as the disk, so that it does not matter where the guest was when all fails
        await swaps.commit(vmi, swap, sandbox, signal);
        await libvirt.endDiskCopy(domain, target, { pivot: true });
        return undefined;
      case 'report':
        // a larger disk shows its size when it is told
        await libvirt.resizeDisk(domain, target, await swaps.sizeOf(vmi, swap, signal));
        await swaps.finish(vmi, swap, sandbox.podUid, signal);
        this.begun.delete(keyOf(swap));
        events.normal(vmi, 'VolumeMigrated', `Volume ${swap.volume} is in claim ${swap.to}`);
        return (now) => withClaim(now, swap);
      case 'stop':
      case 'nothing':
        await swaps.revoke(vmi, swap, sandbox.podUid, signal);
        if (step === 'stop') await libvirt.endDiskCopy(domain, target, { pivot: false });
        this.begun.delete(keyOf(swap));
        return undefined;
    }
  }

  private progress(swap: ClaimSwap, percent: number, vmi: VirtualMachineInstance): InstanceChange | undefined {
    const told = Math.floor(percent / TOLD_PERCENT) * TOLD_PERCENT;
    const message = `${told}% copied into claim ${swap.to}`;
    const before = vmi.status?.volumeStatus?.find(({ name }) => name === swap.volume);
    if (before?.message === message) return undefined;
    return (now) => withStatus(now, swap.volume, (status) => ({ ...status, reason: COPY_REASON, message }));
  }
}

const keyOf = ({ volume, to }: ClaimSwap): string => `${volume} ${to}`;

const problemOf = ({ volume, to }: ClaimSwap, error: unknown): string =>
  `Volume ${volume} cannot move to claim ${to}: ${error instanceof Error ? error.message : String(error)}`;

const destinationXml = (file: string): string =>
  renderXml(el('disk', { type: 'file' }, el('driver', { name: 'qemu', type: 'raw' }), el('source', { file })));

function withStatus(
  vmi: VirtualMachineInstance,
  volume: string,
  change: (status: kubevirt.VolumeStatus) => kubevirt.VolumeStatus,
): VirtualMachineInstance {
  const volumeStatus = (vmi.status?.volumeStatus ?? []).map((status) => (status.name === volume ? change(status) : status));
  return { ...vmi, status: { ...vmi.status, volumeStatus } };
}

function withoutProgress({ reason, message, ...status }: kubevirt.VolumeStatus): kubevirt.VolumeStatus {
  return reason === COPY_REASON ? status : { ...status, ...(reason && { reason }), ...(message && { message }) };
}

/** The VMI whose volume is in the new claim. Pure. */
export function withClaim(vmi: VirtualMachineInstance, { volume, to }: ClaimSwap): VirtualMachineInstance {
  const info = vmi.status?.migratedVolumes?.find(({ volumeName }) => volumeName === volume)?.destinationPVCInfo;
  return withStatus(vmi, volume, (status) => ({
    ...withoutProgress(status),
    persistentVolumeClaimInfo: { ...info, claimName: to },
  }));
}

/** The VMI whose moves have ended, each one way or the other: what has not arrived by now stays. Pure. */
export function calledOff(vmi: VirtualMachineInstance): VirtualMachineInstance {
  const { migratedVolumes = [], ...status } = vmi.status ?? {};
  if (!isCalledOff(vmi)) return vmi;
  const arrived = migratedVolumes.filter((migrated) => hasArrived(status, migrated));
  if (arrived.length === migratedVolumes.length && arrived.length > 0) return vmi;
  const volumeStatus = (status.volumeStatus ?? []).map(withoutProgress);
  const { conditions: before = [] } = status;
  const conditions = arrived.length > 0 ? before : before.filter(({ type }) => type !== VmCondition.volumesChange);
  return { ...vmi, status: { ...status, volumeStatus, conditions, ...(arrived.length > 0 && { migratedVolumes: arrived }) } };
}
