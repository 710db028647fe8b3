import type { kubevirt } from '@slipway/api';
import { badRequest, isObject, type JsonObject } from '@slipway/apimachinery';
import { isHotpluggable } from '@slipway/virt';

type Spec = kubevirt.VirtualMachineInstanceSpec;

/** Why a request cannot be followed; the caller makes it a 409 that names its object. */
export class VolumeConflict extends Error {}

const NO_BODY = 'Request with no body, a new name is expected as the request body';

/** The options of `addvolume` with the volume marked hotpluggable and the disk named after it. Throws 400. */
export function addVolumeOptions(body: unknown): kubevirt.AddVolumeOptions {
  const options = objectOf(body);
  const { name, disk, volumeSource } = options;
  if (typeof name !== 'string' || name === '') throw badRequest('AddVolumeOptions requires name to be set');
  if (!isObject(disk)) throw badRequest('AddVolumeOptions requires disk to not be nil');
  if (!isObject(volumeSource)) throw badRequest('AddVolumeOptions requires VolumeSource to not be nil');
  return { name, disk: { ...(disk as unknown as kubevirt.Disk), name }, volumeSource: sourceOf(volumeSource) }; // stored through the schema of its kind
}

function sourceOf({ persistentVolumeClaim: claim, dataVolume }: JsonObject): kubevirt.HotplugVolumeSource {
  if (isObject(claim) && typeof claim['claimName'] === 'string' && claim['claimName'] !== '')
    return { persistentVolumeClaim: { ...claim, claimName: claim['claimName'], hotpluggable: true } };
  if (isObject(dataVolume) && typeof dataVolume['name'] === 'string' && dataVolume['name'] !== '')
    return { dataVolume: { ...dataVolume, name: dataVolume['name'], hotpluggable: true } };
  throw badRequest('AddVolumeOptions requires a persistentVolumeClaim with claimName or a dataVolume with name as volumeSource');
}

/** The name in the options of `removevolume`. Throws 400. */
export function removeVolumeName(body: unknown): string {
  const { name } = objectOf(body);
  if (typeof name !== 'string' || name === '') throw badRequest('RemoveVolumeOptions requires name to be set');
  return name;
}

function objectOf(body: unknown): JsonObject {
  if (body === undefined || body === null || body === '') throw badRequest(NO_BODY);
  if (!isObject(body))
    throw badRequest(`Can not unmarshal Request body to struct, error: expected an object, got ${typeof body}`);
  return body;
}

const sourceName = (volume: Pick<kubevirt.Volume, 'persistentVolumeClaim' | 'dataVolume'>): string | undefined =>
  volume.persistentVolumeClaim?.claimName ?? volume.dataVolume?.name;

/** The spec with the volume and its disk. Throws VolumeConflict when name or source are in use. */
export function withVolume(spec: Spec, { name, disk, volumeSource }: kubevirt.AddVolumeOptions): Spec {
  const { volumes = [] } = spec;
  const { disks = [] } = spec.domain.devices;
  if (volumes.some((volume) => volume.name === name))
    throw new VolumeConflict(`Unable to add volume [${name}] because volume with that name already exists`);
  if (disks.some((entry) => entry.name === name && entry.cdrom === undefined))
    throw new VolumeConflict(`Unable to add volume [${name}] because disk with that name already exists`);
  const source = sourceName(volumeSource);
  if (source !== undefined && volumes.some((volume) => sourceName(volume) === source))
    throw new VolumeConflict(`Unable to add volume source [${source}] because it already exists`);
  const isDrive = disks.some((entry) => entry.name === name);
  return withLists(spec, [...volumes, { name, ...volumeSource }], isDrive ? disks : [...disks, disk]);
}

/** The spec without the volume and its disk; a CD-ROM drive stays, empty. Throws VolumeConflict when it cannot go. */
export function withoutVolume(spec: Spec, name: string): Spec {
  const { volumes = [] } = spec;
  const volume = volumes.find((entry) => entry.name === name);
  if (volume === undefined) throw new VolumeConflict(`Unable to remove volume [${name}] because it does not exist`);
  if (!isHotpluggable(volume)) throw new VolumeConflict(`Unable to remove volume [${name}] because it is not hotpluggable`);
  return withLists(
    spec,
    volumes.filter((entry) => entry !== volume),
    (spec.domain.devices.disks ?? []).filter((disk) => disk.name !== name || disk.cdrom !== undefined),
  );
}

/** The spec with other volumes and disks and nothing else changed. */
export function withLists(spec: Spec, volumes: readonly kubevirt.Volume[], disks: readonly kubevirt.Disk[]): Spec {
  const { domain } = spec;
  return { ...spec, volumes: [...volumes], domain: { ...domain, devices: { ...domain.devices, disks: [...disks] } } };
}
