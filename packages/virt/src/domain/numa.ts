import type { VirtualMachineInstance } from '@slipway/api';
import { bytesOf } from '../quantity.ts';
import { type DomainFacts, DomainPlanError, type HostTopology } from './facts.ts';
import { guestMemoryBytes } from './shape.ts';

export interface NumaCell {
  readonly id: number;
  /** vCPU numbers. */
  readonly cpus: readonly number[];
  readonly memoryBytes: number;
  /** Host cell that backs it. */
  readonly hostCell: number;
}

/** `single`: one cell for everything, needed by shared and huge page memory. `mirror`: guest cells follow host cells. */
export type NumaPlan =
  | { readonly kind: 'single' }
  | { readonly kind: 'mirror'; readonly pageBytes: number; readonly cells: readonly NumaCell[] };

/** CPUs of dedicated placement. */
export interface PinPlan {
  /** Host CPU of each vCPU. */
  readonly vcpus: readonly number[];
  readonly emulator: number | undefined;
  /** CPUs for each IO thread, in order of thread numbers. */
  readonly ioThreads: readonly (readonly number[])[];
}

/** Cores of the host that the pod may use, each with its usable threads, cell by cell. */
function coresOf(cpuSet: readonly number[], topology: HostTopology | undefined): readonly (readonly number[])[] {
  const allowed = new Set(cpuSet);
  if (!topology) return cpuSet.map((cpu) => [cpu]);
  const seen = new Set<number>();
  const cores: number[][] = [];
  for (const cpu of topology.cells.flatMap((cell) => cell.cpus)) {
    if (seen.has(cpu.id)) continue;
    const siblings = cpu.siblings.length > 0 ? cpu.siblings : [cpu.id];
    for (const sibling of siblings) seen.add(sibling);
    const usable = siblings.filter((sibling) => allowed.has(sibling));
    if (usable.length > 0) cores.push(usable);
  }
  return cores;
}

/** Balanced slices: every thread gets its share of the CPUs, the first ones one more; more threads than CPUs wrap. */
function slices(cpus: readonly number[], count: number): readonly (readonly number[])[] {
  if (count >= cpus.length) return Array.from({ length: count }, (_, index) => [cpus[index % cpus.length] ?? 0]);
  const size = Math.floor(cpus.length / count);
  const larger = cpus.length % count;
  let start = 0;
  return Array.from({ length: count }, (_, index) => {
    const end = start + size + (index < larger ? 1 : 0);
    const slice = cpus.slice(start, end);
    start = end;
    return slice;
  });
}

/** Pins vCPUs (threads of a guest core on threads of one host core), the emulator and the IO threads. */
export function planPins(
  vmi: VirtualMachineInstance,
  facts: DomainFacts,
  guest: { readonly vcpus: number; readonly threads: number; readonly ioThreads: number },
): PinPlan | undefined {
  const { cpu } = vmi.spec.domain;
  if (!cpu?.dedicatedCpuPlacement || !facts.cpuSet) return undefined;
  const cores = coresOf(facts.cpuSet, facts.topology);
  const grouped = guest.threads > 1;
  const usable = grouped
    ? cores.filter((core) => core.length >= guest.threads).map((core) => core.slice(0, guest.threads))
    : cores;
  const vcpus = usable.flat().slice(0, guest.vcpus);
  if (vcpus.length < guest.vcpus)
    throw new DomainPlanError(
      `Not enough dedicated CPUs: ${guest.vcpus} vCPUs, CPU set ${facts.cpuSet.join(',')}`,
      'spec.domain.cpu',
    );
  const rest = facts.cpuSet.filter((id) => !vcpus.includes(id));
  const emulator = cpu.isolateEmulatorThread ? rest[0] : undefined;
  if (cpu.isolateEmulatorThread && emulator === undefined)
    throw new DomainPlanError('No dedicated CPU is left for the emulator thread', 'spec.domain.cpu.isolateEmulatorThread');
  const ioThreads =
    emulator === undefined ? slices(vcpus, guest.ioThreads) : Array.from({ length: guest.ioThreads }, () => [emulator]);
  return { vcpus, emulator, ioThreads: guest.ioThreads === 0 ? [] : ioThreads };
}

function mirrorCells(vmi: VirtualMachineInstance, facts: DomainFacts, pins: PinPlan, pageBytes: number): readonly NumaCell[] {
  const byCell = new Map<number, number[]>();
  pins.vcpus.forEach((host, vcpu) => {
    const cell = facts.topology?.cells.find(({ cpus }) => cpus.some(({ id }) => id === host));
    if (!cell) throw new DomainPlanError(`CPU ${host} is in no NUMA cell of the host`, 'spec.domain.cpu.numa');
    byCell.set(cell.id, [...(byCell.get(cell.id) ?? []), vcpu]);
  });
  const hostCells = [...byCell.keys()].toSorted((a, b) => a - b);
  const pages = Math.floor(guestMemoryBytes(vmi.spec.domain) / pageBytes);
  const share = Math.floor(pages / hostCells.length);
  const larger = pages % hostCells.length;
  return hostCells.map((hostCell, id) => ({
    id,
    hostCell,
    cpus: byCell.get(hostCell) ?? [],
    memoryBytes: (share + (id < larger ? 1 : 0)) * pageBytes,
  }));
}

/** Which NUMA cells the guest gets, if any must be written. */
export function planNuma(
  vmi: VirtualMachineInstance,
  facts: DomainFacts,
  pins: PinPlan | undefined,
  needsCell: boolean,
): NumaPlan | undefined {
  const { cpu, memory } = vmi.spec.domain;
  if (cpu?.numa?.guestMappingPassthrough) {
    if (!pins || !memory?.hugepages?.pageSize)
      throw new DomainPlanError(
        'NUMA pass-through needs dedicated CPUs and huge pages',
        'spec.domain.cpu.numa.guestMappingPassthrough',
      );
    const pageBytes = bytesOf(memory.hugepages.pageSize);
    return { kind: 'mirror', pageBytes, cells: mirrorCells(vmi, facts, pins, pageBytes) };
  }
  return needsCell ? { kind: 'single' } : undefined;
}
