import type { VirtualMachineInstance } from '@slipway/api';
import { VmiCondition, VmiPhase } from '@slipway/api';
import { bytesOf, cpuTopology, type CpuTopology, vcpuCount } from '@slipway/virt';
import type { LiveDomain } from './live-domain.ts';

const MIB = 1024 ** 2;
const GIB = 1024 * MIB;

/** vCPUs of a running guest that are to change. */
export interface VcpuGoal {
  readonly topology: CpuTopology;
  readonly wanted: number;
  /** What QEMU gives the guest now. */
  readonly current: number;
}

/** Memory of a running guest that is to change, beyond what it booted with. */
export interface MemoryGoal {
  readonly guestBytes: number;
  readonly bootBytes: number;
  /** Size that the pluggable device must have. */
  readonly deviceBytes: number;
  readonly wantedBytes: number;
  /** Granularity in which the guest takes and gives. */
  readonly blockBytes: number;
  /** What the device was asked for, and what the guest has taken; undefined: there is no device yet. */
  readonly requestedBytes: number | undefined;
  readonly currentBytes: number;
}

const conditionOf = ({ status }: VirtualMachineInstance, type: string) =>
  status?.conditions?.find((condition) => condition.type === type);

/** Whether vCPUs of this instance are to change. Pure. */
export function concernsVcpus(vmi: VirtualMachineInstance): boolean {
  const known = vmi.status?.currentCPUTopology;
  if (vmi.status?.phase !== VmiPhase.running || known === undefined) return false;
  const { sockets = 1, cores = 1, threads = 1 } = known;
  const wanted = vcpuCount(cpuTopology(vmi.spec.domain));
  return wanted !== sockets * cores * threads || conditionOf(vmi, VmiCondition.hotVcpuChange) !== undefined;
}

/** Whether memory of this instance is to change; a change that failed is not tried again. Pure. */
export function concernsMemory(vmi: VirtualMachineInstance): boolean {
  const { memory } = vmi.status ?? {};
  const guest = vmi.spec.domain.memory?.guest;
  if (vmi.status?.phase !== VmiPhase.running || memory?.guestAtBoot === undefined || guest === undefined) return false;
  const condition = conditionOf(vmi, VmiCondition.hotMemoryChange);
  const isThere = memory.guestCurrent !== undefined && bytesOf(memory.guestCurrent) === bytesOf(guest);
  return condition?.status === 'False' ? isThere : !isThere || condition !== undefined;
}

/** What is to become of the vCPUs. Pure. */
export function vcpuGoal(vmi: VirtualMachineInstance, live: LiveDomain): VcpuGoal {
  const topology = cpuTopology(vmi.spec.domain);
  return { topology, wanted: vcpuCount(topology), current: live.vcpus.current };
}

/** What is to become of the memory; undefined for a guest whose memory cannot grow. Pure. */
export function memoryGoal(vmi: VirtualMachineInstance, live: LiveDomain): MemoryGoal | undefined {
  const { guest, maxGuest, hugepages } = vmi.spec.domain.memory ?? {};
  const boot = vmi.status?.memory?.guestAtBoot;
  if (guest === undefined || maxGuest === undefined || boot === undefined) return undefined;
  const [guestBytes, bootBytes] = [bytesOf(guest), bytesOf(boot)];
  const [device] = live.memory;
  return {
    ...{ guestBytes, bootBytes },
    deviceBytes: bytesOf(maxGuest) - bootBytes,
    wantedBytes: guestBytes - bootBytes,
    blockBytes: hugepages?.pageSize === '1Gi' ? GIB : 2 * MIB,
    requestedBytes: device?.requestedBytes,
    currentBytes: device?.currentBytes ?? 0,
  };
}
