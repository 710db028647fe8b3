import type { VirtualMachineInstance } from '@slipway/api';
import { bytesOf } from '../quantity.ts';
import { el, type XmlElement } from '../xml.ts';
import type { NumaPlan, PinPlan } from './numa.ts';
import { guestMemoryBytes, isS390x } from './shape.ts';

export interface MemoryPlan {
  readonly guestBytes: number;
  /** Upper bound of later memory hotplug. */
  readonly maxBytes: number | undefined;
  readonly hugepages: boolean;
  /** Other processes (virtiofsd, passt) map the guest's memory, or there is more of it than the host has. */
  readonly shared: boolean;
  readonly memfd: boolean;
  readonly realtime: boolean;
}

/** Size and backing of the guest's memory. */
export function planMemory(vmi: VirtualMachineInstance, hostMemoryBytes = Number.POSITIVE_INFINITY): MemoryPlan {
  const { domain, architecture } = vmi.spec;
  const guestBytes = guestMemoryBytes(domain);
  const max = domain.memory?.maxGuest === undefined ? undefined : bytesOf(domain.memory.maxGuest);
  const hugepages = domain.memory?.hugepages !== undefined;
  // Linux refuses a private mapping larger than all of the RAM, however little will be touched; shared memory is
  // accounted page by page
  const shared = isMappedByOthers(domain.devices) || (guestBytes > hostMemoryBytes && !hugepages);
  const memfdWanted = vmi.metadata.annotations?.['kubevirt.io/memfd'] !== 'false';
  return {
    guestBytes,
    maxBytes: max === undefined || max === guestBytes ? undefined : max,
    hugepages,
    shared,
    memfd: (shared || (hugepages && memfdWanted)) && !isS390x(architecture),
    realtime: domain.cpu?.realtime !== undefined,
  };
}

function isMappedByOthers({ filesystems = [], interfaces = [] }: VirtualMachineInstance['spec']['domain']['devices']): boolean {
  return (
    filesystems.some(({ virtiofs }) => virtiofs !== undefined) ||
    interfaces.some(({ passtBinding }) => passtBinding !== undefined)
  );
}

/** True when the guest's memory must be written as a NUMA cell for its backing to take effect. */
export function needsNumaCell(plan: MemoryPlan): boolean {
  // libvirt 9 wants a cell and a slot before memory can be plugged in.
  return plan.memfd || plan.maxBytes !== undefined;
}

/** `<memory>`, `<maxMemory>` and `<memoryBacking>`. */
export function memoryElements(plan: MemoryPlan, numa: NumaPlan | undefined): readonly XmlElement[] {
  const elements = [el('memory', { unit: 'b' }, String(plan.guestBytes))];
  if (plan.maxBytes !== undefined) elements.push(el('maxMemory', { unit: 'b', slots: 1 }, String(plan.maxBytes)));
  if (!plan.hugepages && !plan.shared && !plan.realtime) return elements;
  const mirror = numa?.kind === 'mirror' ? numa : undefined;
  const pages = mirror
    ? el('page', { size: mirror.pageBytes, unit: 'b', nodeset: mirror.cells.map(({ id }) => id).join(',') })
    : undefined;
  elements.push(
    el(
      'memoryBacking',
      {},
      plan.hugepages && el('hugepages', {}, pages),
      plan.memfd && el('source', { type: 'memfd' }),
      plan.shared && el('access', { mode: 'shared' }),
      mirror && el('allocation', { mode: 'immediate' }),
      plan.realtime && el('nosharepages'),
    ),
  );
  return elements;
}

/** `<cputune>` and `<numatune>`. */
export function tuneElements(pins: PinPlan | undefined, numa: NumaPlan | undefined): readonly XmlElement[] {
  const elements: XmlElement[] = [];
  if (pins)
    elements.push(
      el(
        'cputune',
        {},
        pins.vcpus.map((cpu, vcpu) => el('vcpupin', { vcpu, cpuset: cpu })),
        pins.emulator !== undefined && el('emulatorpin', { cpuset: pins.emulator }),
        pins.ioThreads.map((cpus, index) => el('iothreadpin', { iothread: index + 1, cpuset: cpus.join(',') })),
      ),
    );
  if (numa?.kind === 'mirror')
    elements.push(
      el(
        'numatune',
        {},
        el('memory', { mode: 'strict', nodeset: numa.cells.map(({ hostCell }) => hostCell).join(',') }),
        numa.cells.map((cell) => el('memnode', { cellid: cell.id, mode: 'strict', nodeset: cell.hostCell })),
      ),
    );
  return elements;
}
