import type { kubevirt } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import { isPciAddress } from '../domain/pci.ts';
import { diskTarget } from '../domain/shape.ts';
import { type Cause, dnsLabelFaults, invalid, notSupported, when } from './causes.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;

const BUSES = ['virtio', 'scsi', 'sata', 'usb'];
const CACHES = ['', 'none', 'writethrough', 'writeback'];
const ERROR_POLICIES = ['', 'stop', 'ignore', 'report', 'enospace'];
const MAX_SERIAL = 256;
const MIN_BLOCK = 512;
const MAX_BLOCK = 2 * 1024 * 1024;
const ARRAY_LIMIT = 256;

function checkBus(field: string, disk: kubevirt.Disk, architecture: string | undefined): readonly Cause[] {
  const { device, bus } = diskTarget(disk);
  const at = `${field}.${device}.bus`;
  if (bus === '') return [];
  if (bus === 'ide') return [invalid(at, 'IDE bus is not supported')];
  if (!BUSES.includes(bus))
    return [invalid(at, `${field} is set with an unrecognized bus ${bus}, must be one of: [${BUSES.join(' ')}]`)];
  if (device === 'cdrom' && bus === 'virtio') return [invalid(at, 'Bus type virtio is invalid for CD-ROM device')];
  if (device === 'disk' && bus === 'sata' && disk.disk?.readonly)
    return [invalid(at, 'sata hard-disks do not support read-only.')];
  if (architecture === 'arm64' && bus !== 'virtio' && bus !== 'scsi')
    return [notSupported(at, `Arm64 not support this disk bus type, please use virtio or scsi`)];
  return [];
}

function blockSizeFaults(field: string, size: number | undefined): readonly Cause[] {
  if (size === undefined) return [];
  if (size < MIN_BLOCK)
    return [invalid(field, `Provided size of ${size} is less than the supported minimum size of ${MIN_BLOCK}`)];
  if (size > MAX_BLOCK)
    return [invalid(field, `Provided size of ${size} is greater than the supported maximum size of ${MAX_BLOCK}`)];
  return when((size & (size - 1)) !== 0, () => invalid(field, `Provided size of ${size} is not a power of 2`));
}

function checkBlockSize(field: string, disk: kubevirt.Disk): readonly Cause[] {
  const { custom, matchVolume } = disk.blockSize ?? {};
  const causes: Cause[] = [];
  if (custom && matchVolume && matchVolume.enabled !== false)
    causes.push(invalid(`${field}.blockSize`, "Block size matching can't be enabled together with a custom value"));
  if (!custom) return causes;
  const { logical, physical } = custom;
  causes.push(
    ...blockSizeFaults(`${field}.blockSize.custom.logical`, logical),
    ...blockSizeFaults(`${field}.blockSize.custom.physical`, physical),
  );
  if (logical !== undefined && physical !== undefined && logical > physical)
    causes.push(
      invalid(
        `${field}.blockSize.custom.logical`,
        `Logical size ${logical} must be the same or less than the physical size of ${physical}`,
      ),
    );
  if (diskTarget(disk).bus === 'sata' && logical !== undefined && logical !== MIN_BLOCK)
    causes.push(
      invalid(
        `${field}.blockSize.custom.logical`,
        `Logical size of ${logical} is not supported with SATA bus; it must be ${MIN_BLOCK}`,
      ),
    );
  const granularity = custom.discardGranularity;
  if (granularity !== undefined && logical && granularity % logical !== 0)
    causes.push(
      invalid(
        `${field}.blockSize.custom.discardGranularity`,
        `Discard granularity of ${granularity} must be a multiple of the logical size of ${logical}`,
      ),
    );
  return causes;
}

function checkAddress(path: string, index: number, disk: kubevirt.Disk): readonly Cause[] {
  const address = disk.disk?.pciAddress;
  if (!address) return [];
  // KubeVirt-compat: the prefix is doubled in this path.
  const doubled = `${path}.domain.devices.disks.domain.devices.disks.disk[${index}]`;
  const field = `${doubled}.pciAddress`;
  if (diskTarget(disk).bus !== 'virtio')
    return [invalid(field, `disk ${doubled}.name - setting a PCI address is only possible with bus type virtio.`)];
  return when(!isPciAddress(address), () => invalid(field, `disk ${doubled}.name has malformed PCI address (${address}).`));
}

function checkSerial(field: string, serial: string | undefined): readonly Cause[] {
  if (!serial) return [];
  if (serial.length > MAX_SERIAL)
    return [invalid(`${field}.serial`, `${field} must be less than or equal to ${MAX_SERIAL} in length, if specified`)];
  return when(!/^[A-Za-z0-9_.+-]+$/.test(serial), () =>
    invalid(`${field}.serial`, `${field} must be made up of the following characters [A-Za-z0-9_.+-], if specified`),
  );
}

/** The gate became a setting of its own; who still lists it means the same. */
function hasReservations({ configuration }: ClusterConfig): boolean {
  const listed = configuration.developerConfiguration?.featureGates?.includes('PersistentReservation') ?? false;
  return listed || configuration.persistentReservationConfiguration?.enabled === true;
}

function checkLun(field: string, disk: kubevirt.Disk, spec: Spec, config: ClusterConfig): readonly Cause[] {
  if (!disk.lun) return [];
  const volume = (spec.volumes ?? []).find(({ name }) => name === disk.name);
  const isClaim = volume?.persistentVolumeClaim ?? volume?.dataVolume ?? volume?.ephemeral;
  return [
    ...when(volume !== undefined && !isClaim, () =>
      invalid(`${field}.lun`, `${field}.lun can only be mapped to a DataVolume or PersistentVolumeClaim volume.`),
    ),
    ...when(disk.lun.reservation && !hasReservations(config), () =>
      invalid(
        'spec.domain.devices.disks.luns.reservation',
        'PersistentReservation feature gate is not enabled in kubevirt-config',
      ),
    ),
  ];
}

function checkOptions(field: string, disk: kubevirt.Disk): readonly Cause[] {
  const { cache = '', io = '', errorPolicy } = disk;
  return [
    ...when(!CACHES.includes(cache), () => invalid(`${field}.cache`, `${field}.cache has invalid value ${cache}`)),
    ...when(!['', 'native', 'threads'].includes(io), () =>
      notSupported(`${field}.io`, `Disk IO mode for ${field} is not supported. Supported modes are: native, threads.`),
    ),
    ...when(errorPolicy !== undefined && !ERROR_POLICIES.includes(errorPolicy), () =>
      invalid(`${field}.errorPolicy`, `${field}.errorPolicy is set with an unrecognized policy ${errorPolicy}`),
    ),
    ...when(disk.dedicatedIOThread === true && !['virtio', ''].includes(diskTarget(disk).bus) && disk.disk !== undefined, () =>
      notSupported(`${field}.dedicatedIOThread`, 'IOThreads are only supported for disks on a virtio bus'),
    ),
  ];
}

/** Every rule for one disk; used for hotplugged disks too. */
export function checkDisk(path: string, index: number, spec: Spec, config: ClusterConfig): readonly Cause[] {
  const disks = spec.domain.devices.disks ?? [];
  const disk = disks[index];
  if (!disk) return [];
  const field = `${path}.domain.devices.disks[${index}]`;
  const first = disks.findIndex(({ name }) => name === disk.name);
  const targets = [disk.disk, disk.cdrom, disk.lun].filter((target) => target !== undefined).length;
  return [
    ...when(first !== index, () =>
      invalid(`${field}.name`, `${field} and ${path}.domain.devices.disks[${first}] must not have the same Name.`),
    ),
    ...checkLun(field, disk, spec, config),
    ...when(targets > 1, () => invalid(field, `${field} can only have a single target type defined`)),
    ...checkAddress(path, index, disk),
    ...when(disk.bootOrder !== undefined && disk.bootOrder < 1, () =>
      invalid(`${field}.bootOrder`, `${field} must have a boot order > 0, if supplied`),
    ),
    ...checkBus(field, disk, spec.architecture),
    ...checkSerial(field, disk.serial),
    ...checkOptions(field, disk),
    ...dnsLabelFaults(disk.name).map((fault) =>
      // KubeVirt-compat: the prefix is doubled in this path.
      invalid(`${path}.domain.devices.disks.domain.devices.disks[${index}].name`, fault),
    ),
    ...checkBlockSize(field, disk),
  ];
}

function checkBootOrders(path: string, spec: Spec): readonly Cause[] {
  const { disks = [], interfaces = [] } = spec.domain.devices;
  const seen = new Map<number, string>();
  const causes: Cause[] = [];
  const note = (field: string, order: number | undefined) => {
    if (order === undefined || order < 1) return;
    const other = seen.get(order);
    if (other !== undefined)
      causes.push(invalid(`${field}.bootOrder`, `Boot order for ${field}.bootOrder already set for a different device.`));
    seen.set(order, field);
  };
  for (const [index, { bootOrder }] of disks.entries()) note(`${path}.domain.devices.disks[${index}]`, bootOrder);
  for (const [index, { bootOrder }] of interfaces.entries()) note(`${path}.domain.devices.interfaces[${index}]`, bootOrder);
  return causes;
}

function checkVolumesOfDisks(path: string, spec: Spec, config: ClusterConfig): readonly Cause[] {
  const volumes = new Map((spec.volumes ?? []).map((volume) => [volume.name, volume]));
  return (spec.domain.devices.disks ?? []).flatMap((disk, index) => {
    const field = `${path}.domain.devices.disks[${index}].name`;
    const emptyDrive = disk.cdrom !== undefined && config.hasGate('DeclarativeHotplugVolumes');
    return when(!volumes.has(disk.name) && !emptyDrive, () => invalid(field, `${field} '${disk.name}' not found.`));
  });
}

/** The guest looks for its host's figures on a virtio disk alone. */
function checkMetricsDisks(path: string, spec: Spec): readonly Cause[] {
  const metrics = new Set((spec.volumes ?? []).flatMap(({ name, downwardMetrics }) => (downwardMetrics ? [name] : [])));
  return (spec.domain.devices.disks ?? []).flatMap((disk, index) => {
    if (!metrics.has(disk.name)) return [];
    const field = `${path}.domain.devices.disks[${index}]`;
    const { device, bus } = diskTarget(disk);
    if (device !== 'disk') return [invalid(`${field}.${device}`, 'DownwardMetrics volume must be mapped to a disk')];
    return when(bus !== '' && bus !== 'virtio', () =>
      invalid(`${field}.disk.bus`, `DownwardMetrics volume must be mapped to virtio bus, but ${disk.name} is set to ${bus}`),
    );
  });
}

/** All disks. */
export function checkDisks(path: string, spec: Spec, config: ClusterConfig): readonly Cause[] {
  const disks = spec.domain.devices.disks ?? [];
  const list = `${path}.domain.devices.disks`;
  if (disks.length > ARRAY_LIMIT) return [invalid(list, `${list} list exceeds the ${ARRAY_LIMIT} element limit in length`)];
  return [
    ...checkVolumesOfDisks(path, spec, config),
    ...checkBootOrders(path, spec),
    ...checkMetricsDisks(path, spec),
    ...disks.flatMap((_, index) => checkDisk(path, index, spec, config)),
  ];
}
