import { isDeepStrictEqual } from 'node:util';
import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { diskTarget } from '../domain/shape.ts';
import { type Cause, invalid, notSupported, when } from './causes.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;

const isHotplugged = ({ persistentVolumeClaim, dataVolume, memoryDump }: kubevirt.Volume): boolean =>
  (persistentVolumeClaim?.hotpluggable ?? dataVolume?.hotpluggable ?? memoryDump !== undefined) === true;

const byName = <T extends { readonly name: string }>(list: readonly T[] | undefined): ReadonlyMap<string, T> =>
  new Map((list ?? []).map((entry) => [entry.name, entry]));

const claimOf = (volume: kubevirt.Volume | undefined): string | undefined =>
  volume?.persistentVolumeClaim?.claimName ?? volume?.dataVolume?.name;

/** The claim behind a volume may be exchanged by a volume migration; everything else of it is fixed. */
function isSameVolume(old: kubevirt.Volume, now: kubevirt.Volume | undefined): boolean {
  return now !== undefined && (isDeepStrictEqual(old, now) || (claimOf(old) !== undefined && claimOf(now) !== undefined));
}

function checkPermanent(spec: Spec, old: Spec): readonly Cause[] {
  const volumes = byName(spec.volumes);
  const oldDisks = byName(old.domain.devices.disks);
  // a disc may leave its drive
  const before = (old.volumes ?? []).filter((volume) => !isHotplugged(volume) && !oldDisks.get(volume.name)?.cdrom);
  const lost = before.filter(({ name }) => !volumes.has(name)).map(({ name }) => name);
  if (lost.length > 0) return [notSupported(undefined, `Number of permanent volumes has changed: ${lost.join(', ')}`)];
  const disks = byName(spec.domain.devices.disks);
  return before.flatMap((volume) => {
    const { name } = volume;
    const oldDisk = oldDisks.get(name);
    return [
      ...when(!isSameVolume(volume, volumes.get(name)), () => invalid(undefined, `permanent volume ${name} has changed`)),
      ...when(oldDisk !== undefined && !isDeepStrictEqual(oldDisk, disks.get(name)), () =>
        invalid(undefined, `permanent disk ${name} has changed`),
      ),
    ];
  });
}

function checkNewDisk(disk: kubevirt.Disk, index: number): readonly Cause[] {
  const field = `spec.domain.devices.disks[${index}]`;
  const { device, bus } = diskTarget(disk);
  if (device === 'cdrom') return [];
  return [
    ...when(device === 'lun' && bus !== 'scsi', () =>
      invalid(`${field}.lun.bus`, `hotplugged LUN ${disk.name} requires bus 'scsi'`),
    ),
    ...when(device === 'disk' && bus !== 'scsi' && bus !== 'virtio', () =>
      invalid(`${field}.disk.bus`, `hotplugged disk ${disk.name} requires bus 'scsi' or 'virtio'`),
    ),
    ...when(disk.dedicatedIOThread === true && bus !== 'virtio', () =>
      invalid(`${field}.dedicatedIOThread`, 'IOThreads are only supported for disks on a virtio bus'),
    ),
  ];
}

function checkPlugged(spec: Spec, old: Spec): readonly Cause[] {
  const before = byName(old.volumes);
  const disks = spec.domain.devices.disks ?? [];
  const oldDisks = byName(old.domain.devices.disks);
  return (spec.volumes ?? []).flatMap((volume, index) => {
    const { name } = volume;
    if (before.has(name)) return [];
    const at = disks.findIndex((disk) => disk.name === name);
    const disk = disks[at];
    const intoDrive = oldDisks.get(name)?.cdrom !== undefined;
    return [
      ...when(!isHotplugged(volume) && !intoDrive, () =>
        invalid(`spec.volumes[${index}]`, `volume ${name} is not a hotpluggable PersistentVolumeClaim or DataVolume`),
      ),
      ...when(disk === undefined && volume.memoryDump === undefined, () =>
        invalid(`spec.domain.devices.disks`, `volume ${name} does not have a matching disk`),
      ),
      ...(disk === undefined || intoDrive ? [] : checkNewDisk(disk, at)),
    ];
  });
}

/** What the platform itself may change in a stored instance: hotplugged devices, never the permanent ones. */
export function checkHotplug({ spec }: VirtualMachineInstance, { spec: old }: VirtualMachineInstance): readonly Cause[] {
  const { maxSockets } = old.domain.cpu ?? {};
  const maxGuest = old.domain.memory?.maxGuest;
  return [
    ...checkPermanent(spec, old),
    ...checkPlugged(spec, old),
    ...when(maxSockets !== undefined && spec.domain.cpu?.maxSockets !== maxSockets, () =>
      notSupported('spec.domain.cpu.maxSockets', 'CPU topology maxSockets changed'),
    ),
    ...when(maxGuest !== undefined && String(spec.domain.memory?.maxGuest) !== String(maxGuest), () =>
      notSupported('spec.domain.memory.maxGuest', 'Memory maxGuest changed'),
    ),
  ];
}
