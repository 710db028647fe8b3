import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { el, type XmlElement } from '../xml.ts';
import { type DomainFacts, DomainPlanError, type VolumeFacts } from './facts.ts';
import type { IoThreadPlan } from './io-threads.ts';
import { pciAddressElement } from './pci.ts';
import { diskTarget, needsIommu, virtioModel } from './shape.ts';

export interface DiskSource {
  readonly path: string;
  readonly format: 'raw' | 'qcow2';
  readonly isBlock: boolean;
}

/** One disk of the domain. */
export interface PlannedDisk {
  /** Name of the disk and of its volume. */
  readonly name: string;
  readonly device: 'disk' | 'cdrom' | 'lun';
  readonly bus: string;
  /** For example `vda`; goes to status.volumeStatus[].target. */
  readonly targetDev: string;
  readonly model: string | undefined;
  /** Absent: an empty drive. */
  readonly source: DiskSource | undefined;
  readonly backing: DiskSource | undefined;
  readonly cache: string | undefined;
  readonly io: string | undefined;
  readonly errorPolicy: string;
  readonly discard: boolean;
  readonly ioThread: number | undefined;
  readonly ioThreadPool: number;
  readonly queues: number | undefined;
  readonly iommu: boolean;
  readonly readOnly: boolean;
  readonly shareable: boolean;
  readonly tray: string | undefined;
  readonly serial: string | undefined;
  readonly bootOrder: number | undefined;
  readonly pciAddress: string | undefined;
  /** Unit on SCSI controller 0. */
  readonly scsiUnit: number | undefined;
  readonly blockSize: VolumeFacts['blockSize'] | undefined;
  /** Client socket of the persistent reservation helper. */
  readonly reservationSocket: string | undefined;
}

const PREFIX: Readonly<Record<string, string>> = { virtio: 'vd' };

/** 0 → a, 25 → z, 26 → aa. */
function letters(index: number): string {
  const last = String.fromCharCode(97 + (index % 26));
  return index < 26 ? last : letters(Math.floor(index / 26) - 1) + last;
}

function indexOfLetters(text: string): number {
  let index = 0;
  for (const letter of text) index = index * 26 + letter.charCodeAt(0) - 96;
  return index - 1;
}

/** Hands out device names; a name that the VMI status already reports for a volume stays with that volume. */
export class TargetNames {
  private readonly reserved = new Map<string, string>();
  private readonly taken = new Set<string>();

  constructor(status: readonly kubevirt.VolumeStatus[] = []) {
    for (const { name, target } of status) {
      if (!target) continue;
      this.reserved.set(name, target);
      this.taken.add(target);
    }
  }

  next(volume: string, bus: string): { readonly dev: string; readonly index: number } {
    const prefix = PREFIX[bus] ?? 'sd';
    const known = this.reserved.get(volume);
    if (known?.startsWith(prefix)) return { dev: known, index: indexOfLetters(known.slice(prefix.length)) };
    for (let index = 0; ; index++) {
      const dev = prefix + letters(index);
      if (this.taken.has(dev)) continue;
      this.taken.add(dev);
      return { dev, index };
    }
  }
}

function cacheOf(disk: kubevirt.Disk, volume: VolumeFacts | undefined, blank: boolean): string | undefined {
  const path = `spec.domain.devices.disks[${disk.name}].cache`;
  if (disk.shareable) {
    if (disk.cache !== undefined && disk.cache !== '' && disk.cache !== 'none')
      throw new DomainPlanError(`A sharable disk requires cache = none, not ${disk.cache}`, path);
    return 'none';
  }
  const direct = volume?.supportsDirectIO ?? true;
  if (disk.cache === 'none' && !direct)
    throw new DomainPlanError(`Cache mode none of disk ${disk.name} needs storage that supports direct I/O`, path);
  if (disk.cache) return disk.cache;
  if (blank) return undefined;
  return direct ? 'none' : 'writethrough';
}

function ioOf(disk: kubevirt.Disk, volume: VolumeFacts | undefined, cache: string | undefined): string | undefined {
  if (disk.io) return disk.io;
  // Native AIO needs O_DIRECT and storage whose submit path does not allocate.
  const eligible = volume !== undefined && !volume.backing && (volume.isBlock === true || volume.fullyAllocated === true);
  return cache === 'none' && eligible ? 'native' : undefined;
}

function blockSizeOf(disk: kubevirt.Disk, volume: VolumeFacts | undefined): VolumeFacts['blockSize'] | undefined {
  const custom = disk.blockSize?.custom;
  if (custom) {
    const { logical = 0, physical = 0, discardGranularity } = custom;
    // A size of zero means the same as the other one.
    const sizes = { logical: logical || physical, physical: physical || logical };
    return discardGranularity === undefined ? sizes : { ...sizes, discardGranularity };
  }
  const match = disk.blockSize?.matchVolume;
  return match && match.enabled !== false ? volume?.blockSize : undefined;
}

interface DiskContext {
  readonly vmi: VirtualMachineInstance;
  readonly facts: DomainFacts;
  readonly ioThreads: IoThreadPlan;
  readonly vcpus: number;
  readonly names: TargetNames;
}

const sourceOf = (volume: { path: string; format: 'raw' | 'qcow2'; isBlock?: boolean }): DiskSource => ({
  path: volume.path,
  format: volume.format,
  isBlock: volume.isBlock ?? false,
});

function ioThreadOf(context: DiskContext, disk: kubevirt.Disk, bus: string): Pick<PlannedDisk, 'ioThread' | 'ioThreadPool'> {
  const { ioThreads } = context;
  // libvirt refuses an IO thread on a disk that is not virtio.
  if (!ioThreads.assigned || bus !== 'virtio') return { ioThread: undefined, ioThreadPool: 0 };
  if (ioThreads.poolSize > 0) return { ioThread: undefined, ioThreadPool: ioThreads.poolSize };
  return { ioThread: ioThreads.byDisk.get(disk.name), ioThreadPool: 0 };
}

/** Whether the guest cannot write the disk, whatever its file allows. Pure. */
export function isReadOnlyDisk(disk: kubevirt.Disk, source: kubevirt.Volume | undefined): boolean {
  if (disk.cdrom) return disk.cdrom.readonly ?? true;
  if (source?.downwardMetrics) return true;
  return disk.lun?.readonly ?? disk.disk?.readonly ?? false;
}

const readOnlyOf = (disk: kubevirt.Disk, source: kubevirt.Volume | undefined, volume: VolumeFacts | undefined): boolean =>
  isReadOnlyDisk(disk, source) || (disk.cdrom === undefined && volume?.readOnly === true);

interface Backing {
  readonly source: kubevirt.Volume | undefined;
  readonly volume: VolumeFacts | undefined;
}

/** The disk's volume and its file; undefined while the disk is not to be attached. */
function backingOf({ vmi, facts }: DiskContext, disk: kubevirt.Disk): Backing | undefined {
  const source = vmi.spec.volumes?.find(({ name }) => name === disk.name);
  const volume = facts.volumes.find(({ name }) => name === disk.name);
  const statuses = vmi.status?.volumeStatus ?? [];
  const status = statuses.find(({ name }) => name === disk.name);
  // a drive is there from the start, whether or not a disc is on its way
  if (disk.cdrom !== undefined && source === undefined) return { source, volume };
  if (status?.hotplugVolume && !['Ready', 'MountedToPod'].includes(status.phase ?? '')) return undefined;
  if (volume) return { source, volume };
  // Added to the spec after the guest started: the status does not know it yet.
  if (!status && statuses.length > 0) return undefined;
  throw new DomainPlanError(`Volume ${disk.name} has no file on this node`, `spec.volumes[${disk.name}]`);
}

function discards(device: PlannedDisk['device'], { source, volume }: Backing): boolean {
  if (!volume || volume.preallocated || source?.downwardMetrics) return false;
  return device !== 'cdrom' || source?.containerDisk !== undefined;
}

function storageOf(disk: kubevirt.Disk, device: PlannedDisk['device'], backing: Backing) {
  const { source, volume } = backing;
  const cache = cacheOf(disk, volume, volume === undefined);
  return {
    source: volume && sourceOf(volume),
    backing: volume?.backing && sourceOf(volume.backing),
    cache,
    io: ioOf(disk, volume, cache),
    discard: discards(device, backing),
    readOnly: readOnlyOf(disk, source, volume),
    blockSize: blockSizeOf(disk, volume),
  };
}

function busOf(context: DiskContext, disk: kubevirt.Disk, bus: string) {
  const { devices } = context.vmi.spec.domain;
  const isVirtio = bus === 'virtio';
  return {
    model: isVirtio ? virtioModel(context.vmi) : undefined,
    queues: isVirtio && devices.blockMultiQueue ? context.vcpus : undefined,
    iommu: isVirtio && needsIommu(context.vmi.spec.domain),
    ...ioThreadOf(context, disk, bus),
  };
}

function planDisk(context: DiskContext, disk: kubevirt.Disk): PlannedDisk | undefined {
  const { device, bus } = diskTarget(disk);
  // The name is taken even if the disk is left out for now, so that it keeps it when it arrives.
  const { dev, index } = context.names.next(disk.name, bus);
  const backing = backingOf(context, disk);
  if (!backing) return undefined;
  return {
    name: disk.name,
    device,
    bus,
    targetDev: dev,
    ...busOf(context, disk, bus),
    ...storageOf(disk, device, backing),
    errorPolicy: disk.errorPolicy ?? 'stop',
    shareable: disk.shareable ?? false,
    tray: disk.cdrom ? (disk.cdrom.tray ?? 'closed') : undefined,
    serial: disk.serial || undefined,
    bootOrder: disk.bootOrder,
    pciAddress: disk.disk?.pciAddress || undefined,
    scsiUnit: bus === 'scsi' && device === 'disk' ? index : undefined,
    reservationSocket: disk.lun?.reservation ? context.facts.sockets.persistentReservation : undefined,
  };
}

/** Plans every disk of the spec in its order; hotplugged disks whose volume is not there yet are left out. */
export function planDisks(
  vmi: VirtualMachineInstance,
  facts: DomainFacts,
  ioThreads: IoThreadPlan,
  vcpus: number,
): readonly PlannedDisk[] {
  const names = new TargetNames(vmi.status?.volumeStatus);
  const context: DiskContext = { vmi, facts, ioThreads, vcpus, names };
  return (vmi.spec.domain.devices.disks ?? []).flatMap((disk) => planDisk(context, disk) ?? []);
}

function sourceElement(source: DiskSource, ...children: readonly (XmlElement | undefined)[]): XmlElement {
  return source.isBlock ? el('source', { dev: source.path }, children) : el('source', { file: source.path }, children);
}

function backingElement(backing: DiskSource): XmlElement {
  return el(
    'backingStore',
    { type: backing.isBlock ? 'block' : 'file' },
    el('format', { type: backing.format }),
    sourceElement(backing),
  );
}

function driverElement(disk: PlannedDisk): XmlElement {
  const pool = Array.from({ length: disk.ioThreadPool }, (_, index) => el('iothread', { id: index + 1 }));
  return el(
    'driver',
    {
      name: 'qemu',
      type: disk.source?.format ?? 'raw',
      cache: disk.cache,
      error_policy: disk.errorPolicy,
      io: disk.io,
      discard: disk.discard ? 'unmap' : undefined,
      iothread: disk.ioThread,
      queues: disk.queues,
      iommu: disk.iommu ? 'on' : undefined,
    },
    pool.length > 0 && el('iothreads', {}, pool),
  );
}

/** One `<disk>`; also what a hotplug call attaches. */
export function diskElement(disk: PlannedDisk): XmlElement {
  const { source, blockSize } = disk;
  const reservations =
    disk.reservationSocket === undefined
      ? undefined
      : el('reservations', { managed: 'no' }, el('source', { type: 'unix', path: disk.reservationSocket, mode: 'client' }));
  const address =
    disk.pciAddress !== undefined
      ? pciAddressElement(disk.pciAddress)
      : disk.scsiUnit !== undefined
        ? el('address', { type: 'drive', controller: 0, bus: 0, unit: disk.scsiUnit })
        : undefined;
  return el(
    'disk',
    { type: source?.isBlock ? 'block' : 'file', device: disk.device, model: disk.model },
    driverElement(disk),
    source && sourceElement(source, reservations),
    disk.backing && backingElement(disk.backing),
    el('target', { dev: disk.targetDev, bus: disk.bus, tray: disk.tray }),
    blockSize &&
      el('blockio', {
        logical_block_size: blockSize.logical,
        physical_block_size: blockSize.physical,
        discard_granularity: blockSize.discardGranularity,
      }),
    disk.readOnly && el('readonly'),
    disk.shareable && el('shareable'),
    disk.serial !== undefined && el('serial', {}, disk.serial),
    disk.bootOrder !== undefined && el('boot', { order: disk.bootOrder }),
    el('alias', { name: `ua-${disk.name}` }),
    address,
  );
}
