import { isSharedVolumeUid, type kubevirt } from '@slipway/api';
import { isReadOnlyDisk } from '@slipway/virt';
import type { OfferedDisk } from '../../contracts.ts';
import { claimAccess } from '../claim-access.ts';
import { VolumeError } from '../volume-error.ts';
import type { VolumeRecord } from '../volume-record.ts';
import { writersOf } from '../writers.ts';

export interface ClaimFacts {
  readonly claimName: string;
  readonly accessModes: readonly string[];
  readonly volumeUid: string;
  readonly record: VolumeRecord;
}

/** How a disk of a claim gets to another node; undefined when the pod does not have it. Throws when it cannot. Pure. */
export function transferOfClaim(
  volume: kubevirt.Volume,
  disk: kubevirt.Disk | undefined,
  { claimName, accessModes, volumeUid, record }: ClaimFacts,
  podUid: string,
): OfferedDisk['transfer'] | undefined {
  const isOnAllNodes = isSharedVolumeUid(volumeUid);
  const isNeverWritten = (volume.persistentVolumeClaim?.readOnly ?? false) || claimAccess(accessModes).isReadOnly;
  if (isNeverWritten && isOnAllNodes) return 'remade';
  if (isNeverWritten)
    throw cannotMove(
      volume.name,
      `claim "${claimName}" is read-only here and only this node has it: use a claim of class "shared"`,
    );
  const writer = writersOf(record).find((one) => one.podUid === podUid);
  if (writer === undefined) return undefined;
  if (isOnAllNodes) return 'shared';
  if (writer.isShared)
    throw cannotMove(volume.name, `VMs of this node share claim "${claimName}": use a claim of class "shared" for it`);
  if (disk !== undefined && isReadOnlyDisk(disk, volume))
    throw cannotMove(
      volume.name,
      `it is a CD-ROM or a read-only disk from claim "${claimName}", which only this node has, and QEMU copies no disk that nobody writes: eject it, or use a containerDisk or a claim of class "shared"`,
    );
  return 'copied';
}

/** How a disk that belongs to the pod gets to another node. Pure. */
export function transferOfOwn(volume: kubevirt.Volume, disk: kubevirt.Disk | undefined): 'copied' | 'remade' {
  return disk !== undefined && isReadOnlyDisk(disk, volume) ? 'remade' : 'copied';
}

/** Why a volume ties its guest to this node. */
export const cannotMove = (volume: string, why: string): VolumeError =>
  new VolumeError('VolumeNotMovable', `Volume ${volume} cannot move to another node: ${why}`);

/** Throws when there is not enough of the file system for what comes. Pure. */
export function checkSpace(pool: string | undefined, neededBytes: number, freeBytes: number): void {
  if (neededBytes <= freeBytes) return;
  const where = pool === undefined ? 'the file system of this node' : `the file system of storage pool "${pool}"`;
  throw new VolumeError(
    'NoSpace',
    `The disks of the guest take ${neededBytes} bytes and ${where} has ${freeBytes} left: delete claims there, or migrate to another node`,
  );
}
