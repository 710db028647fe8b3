import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { planDisks, type PlannedDisk } from '../domain/disks.ts';
import type { DomainFacts, VolumeFacts } from '../domain/facts.ts';
import { planIoThreads } from '../domain/io-threads.ts';
import { cpuTopology, vcpuCount } from '../domain/shape.ts';
import { bootInstance } from './volumes.ts';

/** What the running domain has already. */
export interface TakenDevices {
  /** Target names in use, for example `sda`. */
  readonly targets: readonly string[];
  /** Numbers of the IO threads. */
  readonly ioThreads: readonly number[];
}

export interface HotplugDiskPlan {
  readonly disk: PlannedDisk;
  /** IO thread that must be added before the disk. */
  readonly newIoThread: number | undefined;
}

/**
 * One disk as it is attached to a running domain. Its target name is the one the status reports while that is free,
 * else the first free one. Undefined when the spec has no such disk; throws DomainPlanError when it cannot be attached.
 */
export function planHotplugDisk(
  vmi: VirtualMachineInstance,
  name: string,
  volume: VolumeFacts,
  facts: DomainFacts,
  taken: TakenDevices,
): HotplugDiskPlan | undefined {
  const disk = vmi.spec.domain.devices.disks?.find((entry) => entry.name === name);
  const source = vmi.spec.volumes?.find((entry) => entry.name === name);
  if (disk === undefined || source === undefined) return undefined;
  const alone: VirtualMachineInstance = {
    ...vmi,
    spec: {
      ...vmi.spec,
      volumes: [source],
      domain: { ...vmi.spec.domain, devices: { ...vmi.spec.domain.devices, disks: [disk] } },
    },
    status: { ...vmi.status, volumeStatus: statusOf(vmi, name, taken.targets) },
  };
  const vcpus = vcpuCount(cpuTopology(vmi.spec.domain));
  const shared = planIoThreads(vmi.spec.domain);
  const [planned] = planDisks(alone, { ...facts, volumes: [volume] }, { ...shared, byDisk: new Map() }, vcpus);
  if (planned === undefined) return undefined;
  const thread = ioThreadOf(planned, disk, shared.assigned && shared.poolSize === 0, taken.ioThreads);
  return { disk: { ...planned, ioThread: thread.use }, newIoThread: thread.add };
}

/** Targets that are taken, as a status would report them; the disk's own only while nobody else has it. */
function statusOf(vmi: VirtualMachineInstance, name: string, targets: readonly string[]): kubevirt.VolumeStatus[] {
  const own = vmi.status?.volumeStatus?.find((status) => status.name === name)?.target;
  const others = targets.map((target, index) => ({ name: `#${index}`, target }));
  return own === undefined || own === '' || targets.includes(own) ? others : [...others, { name, target: own }];
}

function ioThreadOf(
  planned: PlannedDisk,
  disk: kubevirt.Disk,
  assigned: boolean,
  threads: readonly number[],
): { readonly use: number | undefined; readonly add: number | undefined } {
  if (planned.bus !== 'virtio') return { use: undefined, add: undefined };
  if (!disk.dedicatedIOThread) return { use: assigned ? threads[0] : undefined, add: undefined };
  const free = Math.max(0, ...threads) + 1;
  return { use: free, add: free };
}

/** IO threads that were added for disks which are gone: beyond those that the guest booted with, and used by none. Pure. */
export function spareIoThreads(
  vmi: VirtualMachineInstance,
  threads: readonly number[],
  used: readonly (number | undefined)[],
): readonly number[] {
  const { count } = planIoThreads(bootInstance(vmi).spec.domain);
  return threads.filter((id) => id > count && !used.includes(id));
}
