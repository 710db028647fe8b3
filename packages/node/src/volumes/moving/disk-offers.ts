import { lstat, open as openFile, stat } from 'node:fs/promises';
import { constants } from 'node:fs';
import { join } from 'node:path';
import { isSharedVolumeUid, type kubevirt, type PersistentVolumeClaim, type VirtualMachineInstance } from '@slipway/api';
import type { OfferedDisk } from '../../contracts.ts';
import { METRICS_DISK_BYTES } from '../../downward-metrics/index.ts';
import { configDiskBuilder } from '../config-disks.ts';
import { isShared, STATE_VOLUME, stateClaimOf } from '../guest-files.ts';
import { volumeUidOf } from '../local-volume.ts';
import { boundVolume } from '../mover-pod-runner.ts';
import { VolumeError } from '../volume-error.ts';
import { activeName, DISK_NAME, type VolumeRecord } from '../volume-record.ts';
import { offerContent } from './moving-records.ts';
import type { MovingVolumesDeps } from './moving-volumes.ts';
import { readMark } from './received-disk.ts';
import { cannotMove, transferOfClaim, transferOfOwn } from './transfer-plan.ts';

const BLOCK_BYTES = 512;

interface Guest {
  readonly vmi: VirtualMachineInstance;
  readonly podUid: string;
}

type Content = Pick<OfferedDisk, 'virtualSizeBytes' | 'allocatedBytes'>;

/** Says for each disk of a running guest how it gets to another node. */
export class DiskOffers {
  private readonly deps: Pick<MovingVolumesDeps, 'client' | 'store' | 'pod' | 'ownDirectory'>;

  constructor(deps: DiskOffers['deps']) {
    this.deps = deps;
  }

  /** Throws VolumeError with a remedy when one cannot. */
  async of(vmi: VirtualMachineInstance, podUid: string, signal: AbortSignal): Promise<readonly OfferedDisk[]> {
    const guest: Guest = { vmi, podUid };
    const offers: OfferedDisk[] = [];
    for (const volume of vmi.spec.volumes ?? []) {
      if (isShared(vmi, volume.name))
        throw cannotMove(volume.name, 'it is shared as a directory with virtiofs: stop the VM and start it elsewhere');
      const disk = vmi.spec.domain.devices.disks?.find(({ name }) => name === volume.name);
      offers.push(...(await this.ofVolume(guest, volume, disk, signal)));
    }
    return [...offers, ...(await this.ofState(guest, signal))];
  }

  private async ofVolume(
    guest: Guest,
    volume: kubevirt.Volume,
    disk: kubevirt.Disk | undefined,
    signal: AbortSignal,
  ): Promise<readonly OfferedDisk[]> {
    const claimName = volume.persistentVolumeClaim?.claimName ?? volume.dataVolume?.name;
    if (claimName !== undefined) return this.ofClaim(guest, volume, disk, claimName, signal);
    const { name, ephemeral, containerDisk, emptyDisk, downwardMetrics } = volume;
    if (downwardMetrics) return [{ name, transfer: 'remade', virtualSizeBytes: METRICS_DISK_BYTES }];
    const isOwn = (ephemeral ?? containerDisk ?? emptyDisk) !== undefined || configDiskBuilder(volume) !== undefined;
    if (!isOwn) return []; // no disk
    const own = await this.ownDisk(guest, volume, signal);
    const transfer = transferOfOwn(volume, disk);
    const claim = ephemeral?.persistentVolumeClaim && { claimName: ephemeral.persistentVolumeClaim.claimName };
    return [{ name, transfer, ...(await contentOf(own)), ...claim }];
  }

  private async ofClaim(
    { vmi, podUid }: Guest,
    volume: kubevirt.Volume,
    disk: kubevirt.Disk | undefined,
    claimName: string,
    signal: AbortSignal,
  ): Promise<readonly OfferedDisk[]> {
    const { store } = this.deps;
    const { claim, volumeUid, record } = await this.claimed(vmi, claimName, signal);
    const accessModes = claim.spec?.accessModes ?? [];
    const transfer = transferOfClaim(volume, disk, { claimName, accessModes, volumeUid, record }, podUid);
    if (transfer === undefined) return []; // hotplugged, and not there yet
    if (transfer === 'copied') await offerContent(store, volumeUid, podUid);
    return [{ name: volume.name, transfer, claimName, ...(await this.contentOfClaim(volumeUid, record)) }];
  }

  /** EFI variables and the TPM's state. */
  private async ofState({ vmi, podUid }: Guest, signal: AbortSignal): Promise<readonly OfferedDisk[]> {
    const { store, pod, ownDirectory } = this.deps;
    const found = pod(podUid);
    const claimName = found && (await stateClaimOf(found, ownDirectory(podUid, STATE_VOLUME)));
    if (claimName === undefined) return [];
    const { volumeUid, record } = await this.claimed(vmi, claimName, signal);
    if (!isSharedVolumeUid(volumeUid)) await offerContent(store, volumeUid, podUid);
    return [{ name: STATE_VOLUME, transfer: 'state', claimName, virtualSizeBytes: record.virtualSizeBytes, allocatedBytes: 0 }];
  }

  private async claimed(
    { metadata }: VirtualMachineInstance,
    name: string,
    signal: AbortSignal,
  ): Promise<{ readonly claim: PersistentVolumeClaim; readonly volumeUid: string; readonly record: VolumeRecord }> {
    const { client, store } = this.deps;
    const { claim, volume } = await boundVolume(client, { namespace: metadata.namespace ?? '', name }, signal);
    const volumeUid = volumeUidOf(volume);
    return { claim, volumeUid, record: await store.get(volumeUid) };
  }

  private async contentOfClaim(volumeUid: string, record: VolumeRecord): Promise<Content> {
    const directory = this.deps.store.directory(volumeUid);
    const names = [activeName(record), ...record.chain.map(({ name }) => name)];
    const sizes = await Promise.all(names.map(async (name) => (await stat(join(directory, name))).blocks * BLOCK_BYTES));
    const allocatedBytes = sizes.reduce((sum, bytes) => sum + bytes, 0);
    return { virtualSizeBytes: record.virtualSizeBytes, allocatedBytes: Math.min(allocatedBytes, record.virtualSizeBytes) };
  }

  /** A disk of the pod's own, which for a throw-away overlay is on the file system of the claim below. */
  private async ownDisk(
    { vmi, podUid }: Guest,
    { name, ephemeral, containerDisk }: kubevirt.Volume,
    signal: AbortSignal,
  ): Promise<OwnDisk> {
    const { ownDirectory, store } = this.deps;
    const own = ownDirectory(podUid, name);
    if ((await readMark(own)) !== undefined) return { path: join(own, DISK_NAME), isOverlay: false };
    const claimName = ephemeral?.persistentVolumeClaim?.claimName;
    if (claimName === undefined) return { path: join(own, DISK_NAME), isOverlay: containerDisk !== undefined };
    const { volumeUid } = await this.claimed(vmi, claimName, signal);
    return { path: join(store.podDirectory(volumeUid, podUid), name, DISK_NAME), isOverlay: true };
  }
}

interface OwnDisk {
  readonly path: string;
  /** In qcow2; raw otherwise, whatever a guest has written to its begin. */
  readonly isOverlay: boolean;
}

/** Where the header of a qcow2 file says how large the disk is. */
const SIZE_OFFSET = 24;

async function contentOf({ path, isOverlay }: OwnDisk): Promise<Content> {
  const found = await lstat(path);
  const file = await openFile(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const header = Buffer.alloc(SIZE_OFFSET + 8);
    const { bytesRead } = await file.read(header, 0, header.length, 0);
    const virtualSizeBytes = isOverlay ? Number(header.readBigUInt64BE(SIZE_OFFSET)) : found.size;
    if (bytesRead < header.length || !Number.isSafeInteger(virtualSizeBytes))
      throw new VolumeError('InvalidVolume', `${path} has no size`);
    return { virtualSizeBytes, allocatedBytes: found.blocks * BLOCK_BYTES };
  } finally {
    await file.close();
  }
}
