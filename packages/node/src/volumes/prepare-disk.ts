import { chmod, chown, rename, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { kubevirt, PersistentVolumeClaim, VirtualMachineInstance } from '@slipway/api';
import { writeIso } from '@slipway/virt';
import type { PreparedVolume, Sandbox } from '../contracts.ts';
import { METRICS_DISK_BYTES } from '../downward-metrics/index.ts';
import { type ConfigDiskDeps, configDiskBuilder } from './config-disks.ts';
import { claimAccess, multiAttach } from './claim-access.ts';
import { type FilledVolume, filledVolume } from './filled-volume.ts';
import type { ImageStore } from './image-store.ts';
import { claimInPlace, receivedDisk } from './moving/received-disk.ts';
import { bytesOf } from './provision-plan.ts';
import { VolumeError } from './volume-error.ts';
import { exists, makeHole, sandboxDirectory } from './volume-files.ts';
import { DISK_NAME } from './volume-record.ts';
import type { VolumeStore } from './volume-store.ts';

export interface DiskDeps extends ConfigDiskDeps {
  readonly store: VolumeStore;
  readonly images: ImageStore;
  readonly isPodGone: (podUid: string) => boolean;
}

/** Where a disk of a pod goes. */
export interface DiskPlace {
  readonly vmi: VirtualMachineInstance;
  readonly podUid: string;
  readonly sandbox: Sandbox;
  /** Directory of this one volume of the pod. */
  readonly directory: string;
}

export type PreparedDisk = Omit<PreparedVolume, 'name'>;

/** Makes the disk of a volume ready, or finds it as it is while the guest runs. Undefined for what is no disk. */
export async function prepareDisk(
  deps: DiskDeps,
  volume: kubevirt.Volume,
  place: DiskPlace,
  signal: AbortSignal,
): Promise<PreparedDisk | undefined> {
  const received = await receivedDisk(place.directory);
  if (received !== undefined) return received; // came from another node with the guest
  const buildConfig = configDiskBuilder(volume);
  if (buildConfig !== undefined) return configDisk(deps, writeIso(await buildConfig(place.vmi, volume, deps, signal)), place);
  const { persistentVolumeClaim, dataVolume, containerDisk, emptyDisk, ephemeral } = volume;
  const named = persistentVolumeClaim?.claimName ?? dataVolume?.name;
  if (named !== undefined) {
    const claimName = await claimInPlace(place.directory, named);
    const isReadOnly = persistentVolumeClaim?.readOnly ?? false;
    return claimDisk(deps, { claimName, isReadOnly, disk: diskOf(place.vmi, volume) }, place, signal);
  }
  if (ephemeral?.persistentVolumeClaim) return ephemeralDisk(deps, ephemeral.persistentVolumeClaim.claimName, place, signal);
  if (containerDisk) return imageDisk(deps, containerDisk, place, signal);
  if (emptyDisk) return blankDisk(deps, bytesOf(emptyDisk.capacity), place);
  if (volume.hostDisk)
    throw new VolumeError(
      'FailedMount',
      `Volume ${volume.name}: host disks are not offered: they would hand host files to guests. Import the file into a DataVolume`,
    );
  if (volume.downwardMetrics) return metricsDisk(deps, place);
  return undefined; // no disk: memory dumps
}

/** A disk of a claim, as the VMI asks for it. */
interface ClaimUse {
  readonly claimName: string;
  readonly isReadOnly: boolean;
  readonly disk: kubevirt.Disk | undefined;
}

async function claimDisk(deps: DiskDeps, use: ClaimUse, place: DiskPlace, signal: AbortSignal): Promise<PreparedDisk> {
  const { claimName, isReadOnly, disk } = use;
  const filled = await filledVolume(deps, { namespace: place.vmi.metadata.namespace ?? '', name: claimName }, signal);
  if (disk?.lun !== undefined)
    throw new VolumeError(
      'FailedMount',
      `Disk ${disk.name} is a LUN, which hands SCSI commands to a device, and claim "${claimName}" is kept in a file: use "disk: {bus: scsi}"`,
    );
  const access = claimAccess(filled.claim.spec?.accessModes ?? []);
  if (isReadOnly || access.isReadOnly) return readOnlyDisk(deps, filled, place);
  const isShared = disk?.shareable === true && !access.isForOnePod;
  return writableDisk(deps, filled, { isShared, isForOneNode: access.isForOneNode }, place, signal);
}

async function readOnlyDisk(deps: DiskDeps, { claim, volumeUid, record }: FilledVolume, place: DiskPlace): Promise<PreparedDisk> {
  const directory = await directoryNear(deps.store, volumeUid, place);
  await deps.store.linkReadOnly(volumeUid, directory);
  return {
    path: join(directory, DISK_NAME),
    format: record.format,
    readOnly: true,
    sizeBytes: record.virtualSizeBytes,
    claim: claimFacts(claim),
  };
}

async function writableDisk(
  { store, isPodGone }: DiskDeps,
  { claim, volumeUid }: FilledVolume,
  { isShared, isForOneNode }: { readonly isShared: boolean; readonly isForOneNode: boolean },
  place: DiskPlace,
  signal: AbortSignal,
): Promise<PreparedDisk> {
  const { vmi, podUid, sandbox } = place;
  const { namespace, name } = vmi.metadata;
  const holder = `virtual machine instance ${namespace}/${name}`;
  const attachment = { podUid, uid: sandbox.uid, holder, isForOneNode, ...(isShared && { isShared }) };
  const attached = await store.attach(volumeUid, attachment, isPodGone, signal).catch((error: unknown) => {
    throw multiAttach(claim, error);
  });
  return {
    path: isShared
      ? await store.linkShared(volumeUid, await directoryNear(store, volumeUid, place))
      : store.activePath(volumeUid, attached),
    format: attached.format,
    readOnly: false,
    sizeBytes: attached.virtualSizeBytes,
    claim: claimFacts(claim),
  };
}

async function ephemeralDisk(deps: DiskDeps, claimName: string, place: DiskPlace, signal: AbortSignal): Promise<PreparedDisk> {
  const { claim, volumeUid, record } = await filledVolume(
    deps,
    { namespace: place.vmi.metadata.namespace ?? '', name: claimName },
    signal,
  );
  const directory = await directoryNear(deps.store, volumeUid, place);
  const path = join(directory, DISK_NAME);
  if (!(await exists(path))) await deps.store.overlayOnVolume(volumeUid, directory, signal);
  await give(path, place.sandbox);
  return {
    path,
    format: 'qcow2',
    readOnly: false,
    sizeBytes: record.virtualSizeBytes,
    claim: claimFacts(claim),
  };
}

/** A link to a file is on the file system of the file. */
export const directoryNear = (
  store: VolumeStore,
  volumeUid: string,
  { podUid, directory, sandbox }: DiskPlace,
): Promise<string> => sandboxDirectory(store.podDirectory(volumeUid, podUid), basename(directory), sandbox);

async function imageDisk(
  deps: DiskDeps,
  source: kubevirt.ContainerDiskSource,
  place: DiskPlace,
  signal: AbortSignal,
): Promise<PreparedDisk> {
  const path = join(place.directory, DISK_NAME);
  const image = await deps.images.get(
    {
      reference: source.image,
      pullPolicy: (await exists(path)) ? 'IfNotPresent' : source.imagePullPolicy,
      ...(source.imagePullSecret && {
        pullSecret: { namespace: place.vmi.metadata.namespace ?? '', name: source.imagePullSecret },
      }),
    },
    signal,
  );
  // an overlay that exists belongs to the running guest: the agent was restarted
  if (!(await exists(path))) await deps.store.overlayOn(image, place.directory, signal);
  await give(path, place.sandbox);
  return { path, format: 'qcow2', readOnly: false, sizeBytes: image.sizeBytes };
}

async function blankDisk(deps: DiskDeps, sizeBytes: number, place: DiskPlace): Promise<PreparedDisk> {
  if (sizeBytes <= 0) throw new VolumeError('FailedMount', 'An emptyDisk needs a capacity above zero');
  const path = join(place.directory, DISK_NAME);
  if (!(await exists(path))) await makeHole(path, sizeBytes);
  await give(path, place.sandbox);
  return { path, format: 'raw', readOnly: false, sizeBytes };
}

/** A disk that the agent writes and the guest reads. */
async function metricsDisk(deps: DiskDeps, { directory, sandbox }: DiskPlace): Promise<PreparedDisk> {
  const path = join(directory, DISK_NAME);
  if (!(await exists(path))) await makeHole(path, METRICS_DISK_BYTES);
  await chown(path, 0, sandbox.uid);
  await chmod(path, 0o640);
  return { path, format: 'raw', readOnly: true, sizeBytes: METRICS_DISK_BYTES };
}

async function configDisk(deps: DiskDeps, bytes: Uint8Array, place: DiskPlace): Promise<PreparedDisk> {
  const path = join(place.directory, DISK_NAME);
  // the running guest keeps what it has; it may write, into this copy of its own: SATA and USB disks cannot be read-only
  if (!(await exists(path))) {
    const whole = `${path}.new`;
    await writeFile(whole, padded(bytes), { mode: 0o600 });
    await give(whole, place.sandbox);
    await rename(whole, path);
  }
  return { path, format: 'raw', readOnly: false, sizeBytes: padded(bytes).length };
}

async function give(path: string, { uid }: Sandbox): Promise<void> {
  await chown(path, uid, uid);
}
/** QEMU writes disks whole sectors of the storage at a time, which on some is 4 KiB. */
function padded(bytes: Uint8Array): Uint8Array {
  const SECTOR_BYTES = 4096;
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & (SECTOR_BYTES - 1))]);
}

const diskOf = ({ spec }: VirtualMachineInstance, { name }: kubevirt.Volume): kubevirt.Disk | undefined =>
  spec.domain.devices.disks?.find((disk) => disk.name === name);

/** What the VMI's status says of a claim. Pure. */
export const claimFacts = ({ metadata, spec }: PersistentVolumeClaim): NonNullable<PreparedVolume['claim']> => ({
  claimName: metadata.name ?? '',
  volumeMode: spec?.volumeMode ?? 'Filesystem',
  accessModes: spec?.accessModes ?? [],
});
