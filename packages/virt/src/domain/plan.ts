import type { VirtualMachineInstance } from '@slipway/api';
import { el, renderXml, type XmlElement } from '../xml.ts';
import { cpuElement, type CpuPlan, planCpu, vcpuElements } from './cpu.ts';
import {
  channelElements,
  consoleElements,
  controllerElements,
  inputElements,
  launchSecurityElement,
  otherElements,
} from './devices.ts';
import { diskElement, type PlannedDisk, planDisks } from './disks.ts';
import { type DomainFacts, DomainPlanError, type PlanNote } from './facts.ts';
import { clockElement, featuresElement } from './features.ts';
import { osElement, planFirmware, sysinfoElement } from './firmware.ts';
import { hostDeviceElements } from './host-devices.ts';
import { interfaceElement, type PlannedInterface, planInterfaces } from './interfaces.ts';
import { type IoThreadPlan, planIoThreads } from './io-threads.ts';
import { type MemoryPlan, memoryElements, needsNumaCell, planMemory, tuneElements } from './memory.ts';
import { type NumaPlan, type PinPlan, planNuma, planPins } from './numa.ts';
import { rootPortElements } from './pci.ts';
import { placeOnRootComplex } from './root-complex.ts';
import { cpuTopology } from './shape.ts';

/** A libvirt domain as plain data: what the agent needs to know of it, and its remaining elements. */
export interface DomainPlan {
  /** `<namespace>_<name>`. */
  readonly name: string;
  readonly uuid: string | undefined;
  readonly type: 'kvm' | 'qemu';
  /** Machine type the guest really gets; goes to status.machine. */
  readonly machine: string;
  readonly cpu: CpuPlan;
  readonly memory: MemoryPlan;
  readonly numa: NumaPlan | undefined;
  readonly pins: PinPlan | undefined;
  readonly ioThreads: IoThreadPlan;
  readonly disks: readonly PlannedDisk[];
  readonly interfaces: readonly PlannedInterface[];
  /** Differences from the spec that the user should see. */
  readonly notes: readonly PlanNote[];
  /** The whole domain. */
  readonly element: XmlElement;
}

function acceleratorOf(facts: DomainFacts, notes: PlanNote[]): DomainPlan['type'] {
  if (facts.accelerator.kind === 'kvm') return 'kvm';
  if (!facts.allowEmulation) throw new DomainPlanError('kvm not present and emulation is not allowed');
  notes.push({
    reason: 'SoftwareEmulation',
    message: 'KVM cannot be used on this node; the guest runs under software emulation',
  });
  return 'qemu';
}

// Devices that take a PCI slot, so that spare root ports are really spare.
const PCI_ELEMENTS = new Set(['interface', 'hostdev', 'rng', 'memballoon', 'watchdog', 'sound', 'vsock', 'filesystem']);

function countPciDevices(devices: readonly XmlElement[]): number {
  return devices.filter(
    ({ name, attributes }) =>
      PCI_ELEMENTS.has(name) ||
      (name === 'controller' && attributes['model'] !== 'none' && attributes['type'] !== 'pci') ||
      (name === 'disk' && attributes['model'] !== undefined) ||
      (name === 'input' && attributes['bus'] === 'virtio'),
  ).length;
}

function metadataElement(vmi: VirtualMachineInstance): XmlElement {
  const grace = vmi.spec.terminationGracePeriodSeconds ?? 30;
  return el(
    'metadata',
    {},
    el(
      'kubevirt',
      { xmlns: 'http://kubevirt.io' },
      el('uid', {}, vmi.metadata.uid ?? ''),
      el('graceperiod', {}, el('deletionGracePeriodSeconds', {}, String(grace))),
    ),
  );
}

function rebootElement(vmi: VirtualMachineInstance): XmlElement | undefined {
  const policy = vmi.spec.domain.rebootPolicy;
  if (policy === undefined || policy === '') return undefined;
  return el('on_reboot', {}, policy === 'Terminate' ? 'destroy' : 'restart');
}

const isElement = (element: XmlElement | undefined | false): element is XmlElement => Boolean(element);

type Parts = Omit<DomainPlan, 'element' | 'notes'>;
/** What devices depend on and add to besides the parts. */
interface DeviceNotes {
  readonly isEfi: boolean;
  readonly notes: PlanNote[];
}

function deviceElements(vmi: VirtualMachineInstance, facts: DomainFacts, parts: Parts, rest: DeviceNotes): readonly XmlElement[] {
  const context = { vmi, facts, ioThreads: parts.ioThreads, vcpus: parts.cpu.count, ...rest };
  const devices = [
    ...parts.disks.map(diskElement),
    ...parts.interfaces.map(interfaceElement),
    ...hostDeviceElements(vmi, facts),
    ...channelElements(context),
    ...controllerElements(context),
    ...consoleElements(context),
    ...inputElements(context),
    ...otherElements(context),
  ].filter(isElement);
  if (vmi.metadata.annotations?.['kubevirt.io/placePCIDevicesOnRootComplex'] === 'true') return placeOnRootComplex(devices);
  if (facts.spareRootPorts === undefined) return devices;
  return [...rootPortElements(countPciDevices(devices) + facts.spareRootPorts), ...devices];
}

function ignitionElement(vmi: VirtualMachineInstance, facts: DomainFacts): XmlElement | undefined {
  if (facts.ignitionPath === undefined || vmi.metadata.annotations?.['kubevirt.io/ignitiondata'] === undefined) return undefined;
  const argument = (value: string) => el('qemu:arg', { value });
  return el('qemu:commandline', {}, argument('-fw_cfg'), argument(`name=opt/com.coreos/config,file=${facts.ignitionPath}`));
}

/**
 * Plans the libvirt domain of a fully defaulted VMI on a node. Pure: the same input gives the same plan.
 * Throws DomainPlanError when the node cannot run this spec.
 */
export function planDomain(vmi: VirtualMachineInstance, facts: DomainFacts): DomainPlan {
  const { domain } = vmi.spec;
  const notes: PlanNote[] = [];
  const boot = cpuTopology(domain);
  const type = acceleratorOf(facts, notes);
  const firmware = planFirmware(vmi, facts, notes);
  const cpu = planCpu(vmi, facts, boot, notes);
  const memory = planMemory(vmi, facts.hostMemoryBytes);
  const ioThreads = planIoThreads(domain);
  const pins = planPins(vmi, facts, {
    vcpus: cpu.count,
    threads: boot.threads,
    ioThreads: ioThreads.assigned ? ioThreads.count : 0,
  });
  const parts: Parts = {
    name: `${vmi.metadata.namespace ?? 'default'}_${vmi.metadata.name}`,
    uuid: domain.firmware?.uuid || undefined,
    type,
    machine: firmware.machine,
    cpu,
    memory,
    ioThreads,
    pins,
    numa: planNuma(vmi, facts, pins, needsNumaCell(memory)),
    disks: planDisks(vmi, facts, ioThreads, cpu.count),
    interfaces: planInterfaces(vmi, facts, cpu.count),
  };
  const ignition = ignitionElement(vmi, facts);
  const sysinfo = sysinfoElement(vmi, facts);
  const element = el(
    'domain',
    { type, 'xmlns:qemu': ignition && 'http://libvirt.org/schemas/domain/qemu/1.0' },
    el('name', {}, parts.name),
    // Elsewhere libvirt takes it from sysinfo, where the guest reads it too.
    sysinfo === undefined && parts.uuid !== undefined && el('uuid', {}, parts.uuid),
    metadataElement(vmi),
    memoryElements(memory, parts.numa),
    vcpuElements(cpu),
    ioThreads.count > 0 && el('iothreads', {}, String(ioThreads.count)),
    tuneElements(pins, parts.numa),
    sysinfo,
    osElement(vmi, facts, firmware),
    featuresElement(vmi, facts, notes),
    cpuElement(vmi, cpu, parts.numa),
    clockElement(vmi, facts),
    rebootElement(vmi),
    el('devices', {}, deviceElements(vmi, facts, parts, { isEfi: firmware.isEfi, notes })),
    launchSecurityElement(vmi),
    ignition,
  );
  return { ...parts, notes, element };
}

/** The libvirt XML of a plan. */
export function renderDomain(plan: DomainPlan): string {
  return `${renderXml(plan.element)}\n`;
}
