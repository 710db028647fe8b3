import { chown, link, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { kubevirt, PersistentVolumeClaim, Pod, VirtualMachineInstance } from '@slipway/api';
import type { ConfigDisk } from '@slipway/virt';
import type { PreparedFiles, Sandbox } from '../contracts.ts';
import { type ConfigDiskDeps, configDiskBuilder } from './config-disks.ts';
import type { ImageStore } from './image-store.ts';
import { incomingFiles } from './moving/moving-records.ts';
import { readMark } from './moving/received-disk.ts';
import { exists as isThere } from './volume-files.ts';
import { VolumeError } from './volume-error.ts';
import type { VolumeRecord } from './volume-record.ts';
import type { VolumeStore } from './volume-store.ts';

/** Volume of a launcher pod that keeps EFI variables and TPM state. */
export const STATE_VOLUME = 'vm-state';
const SLIC_FILE = 'slic.bin';
/** Names in a shared directory: keys of ConfigMaps and Secrets, which become file names. */
const KEY = /^[-._a-zA-Z0-9]{1,253}$/;

export interface GuestFilesDeps extends ConfigDiskDeps {
  readonly store: VolumeStore;
  readonly images: ImageStore;
  readonly isPodGone: (podUid: string) => boolean;
  /** A local claim that has its content. */
  readonly claim: (
    namespace: string,
    name: string,
    signal: AbortSignal,
  ) => Promise<{ readonly claim: PersistentVolumeClaim; readonly volumeUid: string; readonly record: VolumeRecord }>;
  /** The volume of a claim that comes to this pod from another node and has not been accepted yet. */
  readonly arriving: (
    namespace: string,
    name: string,
    podUid: string,
    signal: AbortSignal,
  ) => Promise<{ readonly volumeUid: string } | undefined>;
  /** Where that is, which nobody may have made. */
  readonly ownDirectory: (podUid: string, name: string) => string;
  /** Directory of one volume of the pod, which only root can change and only the sandbox look into. */
  readonly directory: (podUid: string, name: string, sandbox: Sandbox) => Promise<string>;
}

/** Whether a volume is shared as a directory instead of being a disk. */
export function isShared(vmi: VirtualMachineInstance, name: string): boolean {
  const { disks = [], filesystems = [] } = vmi.spec.domain.devices;
  return filesystems.some((entry) => entry.name === name) && !disks.some((disk) => disk.name === name);
}

interface Guest {
  readonly vmi: VirtualMachineInstance;
  readonly podUid: string;
  readonly sandbox: Sandbox;
}

/** Directories and files of a guest that are no disks. May be repeated while the guest runs. */
export async function prepareGuestFiles(
  deps: GuestFilesDeps,
  vmi: VirtualMachineInstance,
  pod: Pod,
  sandbox: Sandbox,
  signal: AbortSignal,
): Promise<PreparedFiles> {
  const guest: Guest = { vmi, podUid: pod.metadata.uid ?? '', sandbox };
  const shares: { name: string; path: string }[] = [];
  for (const volume of vmi.spec.volumes ?? []) {
    if (isShared(vmi, volume.name)) shares.push({ name: volume.name, path: await shareOf(deps, guest, volume, signal) });
  }
  const stateClaim = await stateClaimOf(pod, deps.ownDirectory(guest.podUid, STATE_VOLUME));
  const kernelBoot = await bootFiles(deps, guest, signal);
  const slic = await slicTable(deps, guest, signal);
  return {
    shares,
    ...(stateClaim !== undefined && { statePath: await claimFiles(deps, guest, stateClaim, signal) }),
    ...(kernelBoot && { kernelBoot }),
    ...(slic !== undefined && { acpiTables: { slic } }),
  };
}

/** The claim that keeps what the pod's firmware writes: the pod names it, or its content came with the guest. */
export async function stateClaimOf({ spec }: Pod, directory: string): Promise<string | undefined> {
  const named = spec?.volumes?.find(({ name }) => name === STATE_VOLUME)?.persistentVolumeClaim?.claimName;
  return named ?? (await readMark(directory))?.claim?.claimName;
}

async function shareOf(deps: GuestFilesDeps, guest: Guest, volume: kubevirt.Volume, signal: AbortSignal): Promise<string> {
  const { persistentVolumeClaim, dataVolume } = volume;
  if (persistentVolumeClaim?.readOnly)
    throw new VolumeError('FailedMount', `Volume ${volume.name} is shared as a directory and cannot be read-only`);
  const claimName = persistentVolumeClaim?.claimName ?? dataVolume?.name;
  if (claimName !== undefined) return claimFiles(deps, guest, claimName, signal);
  const collect = configDiskBuilder(volume);
  if (collect === undefined || volume.cloudInitNoCloud || volume.cloudInitConfigDrive)
    throw new VolumeError(
      'FailedMount',
      `Volume ${volume.name} cannot be shared as a directory: use a claim, ConfigMap, Secret, service account or downward API`,
    );
  const directory = await deps.directory(guest.podUid, volume.name, guest.sandbox);
  const target = join(directory, 'files');
  await writeShare(await collect(guest.vmi, volume, deps, signal), target, guest.sandbox);
  return target;
}

/** Each file is replaced at once; the guest reads the old or the new one. */
async function writeShare({ files }: ConfigDisk, directory: string, { uid }: Sandbox): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o755 });
  await chown(directory, 0, uid);
  const names = new Set(files.map(({ path }) => path));
  for (const { path, data } of files) {
    if (!KEY.test(path) || path === '.' || path === '..')
      throw new VolumeError('FailedMount', `"${path}" cannot be the name of a shared file`);
    const whole = join(directory, `..new-${path.slice(0, 200)}`);
    await writeFile(whole, data, { mode: 0o644 });
    await chown(whole, 0, uid);
    await rename(whole, join(directory, path));
  }
  for (const name of await readdir(directory)) if (!names.has(name)) await rm(join(directory, name), { force: true });
}

async function claimFiles(
  { claim, arriving, store, isPodGone }: GuestFilesDeps,
  { vmi, podUid, sandbox }: Guest,
  claimName: string,
  signal: AbortSignal,
): Promise<string> {
  const { namespace = '', name } = vmi.metadata;
  const incoming = await arriving(namespace, claimName, podUid, signal);
  if (incoming !== undefined) return incomingFiles(store, incoming.volumeUid, { podUid, uid: sandbox.uid });
  const { volumeUid, claim: found } = await claim(namespace, claimName, signal);
  if (found.spec?.volumeMode === 'Block')
    throw new VolumeError(
      'FailedMount',
      `Claim "${claimName}" is a block device and no directory: share a claim of volumeMode Filesystem, or attach it as a disk`,
    );
  const attachment = { podUid, uid: sandbox.uid, holder: `virtual machine instance ${namespace}/${name}` };
  await store.attach(volumeUid, attachment, isPodGone, signal);
  return store.filesDirectory(volumeUid, attachment);
}

/** The licence table of a Secret, as a file; libvirt knows no other kind of table. */
async function slicTable(deps: GuestFilesDeps, guest: Guest, signal: AbortSignal): Promise<string | undefined> {
  const name = guest.vmi.spec.domain.firmware?.acpi?.slicNameRef;
  const volume = guest.vmi.spec.volumes?.find((candidate) => candidate.name === name);
  const collect = volume?.secret && configDiskBuilder(volume);
  if (volume === undefined || collect === undefined) return undefined;
  const { files } = await collect(guest.vmi, volume, deps, signal);
  if (!files.some(({ path }) => path === SLIC_FILE))
    throw new VolumeError(
      'FailedMount',
      `The Secret of volume ${name} has no key ${SLIC_FILE}, which firmware.acpi.slicNameRef needs`,
    );
  const directory = join(await deps.directory(guest.podUid, `${name}-acpi`, guest.sandbox), 'files');
  await writeShare({ files: files.filter(({ path }) => path === SLIC_FILE), label: '' }, directory, guest.sandbox);
  return join(directory, SLIC_FILE);
}

async function bootFiles(
  { images, directory }: GuestFilesDeps,
  { vmi, podUid, sandbox }: Guest,
  signal: AbortSignal,
): Promise<PreparedFiles['kernelBoot']> {
  const container = vmi.spec.domain.firmware?.kernelBoot?.container;
  if (container === undefined) return undefined;
  const { image, kernelPath, initrdPath, imagePullPolicy, imagePullSecret } = container;
  const wanted = [kernelPath, initrdPath].filter((path): path is string => path !== undefined && path !== '');
  const request = {
    reference: image,
    pullPolicy: imagePullPolicy,
    ...(imagePullSecret && { pullSecret: { namespace: vmi.metadata.namespace ?? '', name: imagePullSecret } }),
  };
  const target = await directory(podUid, 'kernel-boot', sandbox);
  const linked = await Promise.all(wanted.map((_, index) => isThere(join(target, String(index)))));
  if (!linked.every(Boolean)) {
    const files = await images.files(request, wanted, signal);
    for (const [index, path] of files.entries()) {
      await rm(join(target, String(index)), { force: true });
      await link(path, join(target, String(index)));
    }
  }
  const pathOf = (path: string | undefined): string | undefined =>
    path ? join(target, String(wanted.indexOf(path))) : undefined;
  const [kernel, initrd] = [pathOf(kernelPath), pathOf(initrdPath)];
  return { ...(kernel !== undefined && { kernel }), ...(initrd !== undefined && { initrd }) };
}
