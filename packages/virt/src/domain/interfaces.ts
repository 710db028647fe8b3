import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { el, type XmlElement } from '../xml.ts';
import type { DomainFacts, InterfaceFacts } from './facts.ts';
import { pciAddressElement } from './pci.ts';
import { needsIommu, virtioModel } from './shape.ts';

/** One emulated network card of the domain; host devices (SR-IOV) are not here. */
export interface PlannedInterface {
  readonly name: string;
  readonly kind: 'ethernet' | 'vhostuser';
  readonly model: string;
  readonly tapName: string | undefined;
  readonly mac: string | undefined;
  readonly mtu: number | undefined;
  readonly driver:
    | { readonly name?: string | undefined; readonly queues?: number | undefined; readonly iommu?: 'on' | undefined }
    | undefined;
  readonly bootOrder: number | undefined;
  readonly linkState: 'down' | undefined;
  readonly acpiIndex: number | undefined;
  readonly pciAddress: string | undefined;
  readonly passt: PasstPlan | undefined;
}

export interface PasstPlan {
  readonly device: string;
  readonly log: string | undefined;
  readonly ports: readonly { readonly protocol: string; readonly port: number }[];
}

/** MAC addresses in the form libvirt prints. */
export function normalizeMac(mac: string): string {
  return mac.toLowerCase().replace(/-/g, ':');
}

const MAX_QUEUES = 256;

function passtOf(spec: kubevirt.Interface, facts: DomainFacts): PasstPlan | undefined {
  if (!spec.passtBinding) return undefined;
  const ports = (spec.ports ?? []).map(({ port, protocol }) => ({ port, protocol: (protocol ?? 'TCP').toLowerCase() }));
  return { device: 'eth0', log: facts.sockets.passtLog, ports };
}

interface DriverFacts {
  readonly isVirtio: boolean;
  /** Undefined: the spec does not ask for several. */
  readonly queues: number | undefined;
  readonly vhostNet: boolean | undefined;
  readonly iommu: boolean;
}

function driverOf({ isVirtio, queues, vhostNet, iommu }: DriverFacts): PlannedInterface['driver'] {
  if (!isVirtio) return undefined;
  if (queues === undefined && !iommu) return vhostNet === true ? { name: 'vhost' } : undefined;
  return {
    // Naming the back end makes libvirt insist on it, so it is named only where it may exist.
    name: vhostNet === false ? undefined : 'vhost',
    queues,
    iommu: iommu ? 'on' : undefined,
  };
}

/** A tap made with one queue cannot be opened with several, nor the other way round. */
function queuesOf(tapQueues: number | undefined, wanted: number): number | undefined {
  return tapQueues === 1 ? undefined : (tapQueues ?? wanted);
}

function planInterface(
  vmi: VirtualMachineInstance,
  facts: DomainFacts,
  spec: kubevirt.Interface,
  vcpus: number,
): PlannedInterface {
  const { domain } = vmi.spec;
  const tap: InterfaceFacts = facts.interfaces.find(({ name }) => name === spec.name) ?? { name: spec.name };
  const isVirtio = !spec.model || spec.model === 'virtio';
  const wanted = domain.devices.networkInterfaceMultiqueue ? Math.min(vcpus, MAX_QUEUES) : undefined;
  const queues = wanted === undefined ? undefined : queuesOf(tap.queues, wanted);
  const passt = passtOf(spec, facts);
  return {
    name: spec.name,
    kind: passt ? 'vhostuser' : 'ethernet',
    model: isVirtio ? virtioModel(vmi) : (spec.model ?? ''),
    tapName: tap.tapName,
    mac: tap.mac && normalizeMac(tap.mac),
    mtu: tap.mtu,
    driver: passt ? undefined : driverOf({ isVirtio, queues, vhostNet: facts.vhostNet, iommu: isVirtio && needsIommu(domain) }),
    bootOrder: spec.bootOrder,
    linkState: spec.state === 'down' ? 'down' : undefined,
    acpiIndex: spec.acpiIndex,
    pciAddress: spec.pciAddress || undefined,
    passt,
  };
}

const isEmulated = (spec: kubevirt.Interface): boolean => !spec.sriov && !spec.slirp && spec.state !== 'absent';

/** Plans every interface that QEMU emulates, in spec order. */
export function planInterfaces(vmi: VirtualMachineInstance, facts: DomainFacts, vcpus: number): readonly PlannedInterface[] {
  return (vmi.spec.domain.devices.interfaces ?? [])
    .filter((spec) => isEmulated(spec) && hasTapBinding(spec, facts))
    .map((spec) => planInterface(vmi, facts, spec, vcpus));
}

/** A binding plugin gets a tap only when its registration says so; without one its sidecar adds the device. */
function hasTapBinding(spec: kubevirt.Interface, facts: DomainFacts): boolean {
  if (!spec.binding) return true;
  const plugin = facts.config.configuration.network?.binding?.[spec.binding.name];
  return plugin?.domainAttachmentType !== undefined && plugin.domainAttachmentType !== '';
}

/** One `<interface>`; also what a hotplug call attaches. */
export function interfaceElement(planned: PlannedInterface): XmlElement {
  const { driver, passt } = planned;
  return el(
    'interface',
    { type: planned.kind },
    planned.mac !== undefined && el('mac', { address: planned.mac }),
    passt && el('source', { dev: passt.device }),
    passt && el('backend', { type: 'passt', logFile: passt.log }),
    passt?.ports.map(({ protocol, port }) => el('portForward', { proto: protocol }, el('range', { start: port }))),
    planned.tapName !== undefined && el('target', { dev: planned.tapName, managed: 'no' }),
    el('model', { type: planned.model }),
    driver && el('driver', { name: driver.name, queues: driver.queues, iommu: driver.iommu }),
    planned.linkState !== undefined && el('link', { state: planned.linkState }),
    planned.mtu !== undefined && el('mtu', { size: planned.mtu }),
    planned.bootOrder !== undefined && el('boot', { order: planned.bootOrder }),
    planned.bootOrder === undefined && planned.kind === 'ethernet' && el('rom', { enabled: 'no' }),
    planned.acpiIndex !== undefined && el('acpi', { index: planned.acpiIndex }),
    el('alias', { name: `ua-${planned.name}` }),
    planned.pciAddress !== undefined && pciAddressElement(planned.pciAddress),
  );
}
