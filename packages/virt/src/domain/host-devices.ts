import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { el, type XmlElement } from '../xml.ts';
import { type DomainFacts, DomainPlanError } from './facts.ts';
import { pciAddressElement } from './pci.ts';

/** Takes the addresses that the device plugins handed to the pod, each once. */
class DevicePools {
  private readonly pools = new Map<string, string[]>();

  private readonly env: Readonly<Record<string, string>>;

  constructor(env: Readonly<Record<string, string>>) {
    this.env = env;
  }

  has(variable: string): boolean {
    return this.env[variable] !== undefined;
  }

  take(variable: string): string | undefined {
    const pool = this.pools.get(variable) ?? (this.env[variable] ?? '').split(',').filter((address) => address !== '');
    this.pools.set(variable, pool);
    return pool.shift();
  }
}

const envName = (prefix: string, resource: string): string => `${prefix}_${resource.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`;

function pciElement(address: string, alias: string, bootOrder?: number, guestAddress?: string): XmlElement {
  return el(
    'hostdev',
    { type: 'pci', managed: 'no' },
    el('source', {}, pciAddressElement(address)),
    bootOrder !== undefined && el('boot', { order: bootOrder }),
    el('alias', { name: alias }),
    guestAddress !== undefined && guestAddress !== '' && pciAddressElement(guestAddress),
  );
}

function mdevElement(uuid: string, alias: string, display?: kubevirt.VGPUDisplayOptions, isFirst = false): XmlElement {
  const shown = display ? display.enabled !== false : isFirst;
  return el(
    'hostdev',
    {
      type: 'mdev',
      mode: 'subsystem',
      model: 'vfio-pci',
      display: shown ? 'on' : undefined,
      ramfb: shown && display?.ramFB?.enabled !== false ? 'on' : undefined,
    },
    el('source', {}, el('address', { uuid })),
    el('alias', { name: alias }),
  );
}

function usbElement(address: string, alias: string): XmlElement {
  const [bus, device] = address.split(':');
  return el(
    'hostdev',
    { type: 'usb', mode: 'subsystem', managed: 'no' },
    el('source', {}, el('address', { bus, device })),
    el('alias', { name: alias }),
  );
}

interface Wanted {
  readonly kind: 'gpu' | 'hostdevice';
  readonly name: string;
  readonly deviceName: string;
  readonly display?: kubevirt.VGPUDisplayOptions | undefined;
}

function deviceElement(pools: DevicePools, wanted: Wanted, isFirst: boolean): XmlElement {
  const { kind, name, deviceName } = wanted;
  const pci = pools.take(envName('PCI_RESOURCE', deviceName));
  if (pci !== undefined) return pciElement(pci, `ua-${kind}-${name}`);
  const mdev = pools.take(envName('MDEV_PCI_RESOURCE', deviceName));
  if (mdev !== undefined) return mdevElement(mdev, `ua-${kind}-${name}`, wanted.display, kind === 'gpu' && isFirst);
  const usb = kind === 'hostdevice' ? pools.take(envName('USB_RESOURCE', deviceName)) : undefined;
  if (usb !== undefined) return usbElement(usb, `ua-usb-host-${name}`);
  throw new DomainPlanError(
    `No device of resource ${deviceName} was given to this pod for ${name}`,
    `spec.domain.devices.${kind === 'gpu' ? 'gpus' : 'hostDevices'}`,
  );
}

function sriovElement(pools: DevicePools, facts: DomainFacts, spec: kubevirt.Interface): XmlElement {
  const resource = facts.env?.[`KUBEVIRT_RESOURCE_NAME_${spec.name}`];
  const given = facts.interfaces.find(({ name }) => name === spec.name)?.device;
  const address = given ?? (resource === undefined ? undefined : pools.take(envName('PCIDEVICE', resource)));
  if (address === undefined)
    throw new DomainPlanError(
      `No SR-IOV device was given to this pod for network ${spec.name}`,
      'spec.domain.devices.interfaces',
    );
  return pciElement(address, `ua-sriov-${spec.name}`, spec.bootOrder, spec.pciAddress);
}

/** `<hostdev>` for SR-IOV interfaces, host devices and GPUs. Throws when the pod was given too few. */
export function hostDeviceElements(vmi: VirtualMachineInstance, facts: DomainFacts): readonly XmlElement[] {
  const { devices } = vmi.spec.domain;
  const pools = new DevicePools(facts.env ?? {});
  const sriov = (devices.interfaces ?? []).filter((spec) => spec.sriov !== undefined && spec.state !== 'absent');
  const wanted: Wanted[] = [
    ...(devices.hostDevices ?? []).map(({ name, deviceName = '' }) => ({ kind: 'hostdevice' as const, name, deviceName })),
    ...(devices.gpus ?? []).map(({ name, deviceName = '', virtualGPUOptions }) => ({
      kind: 'gpu' as const,
      name,
      deviceName,
      display: virtualGPUOptions?.display,
    })),
  ];
  const firstGpu = wanted.find(({ kind }) => kind === 'gpu');
  return [
    ...sriov.map((spec) => sriovElement(pools, facts, spec)),
    ...wanted.map((device) => deviceElement(pools, device, device === firstGpu)),
  ];
}

/** True when a host device of the spec is a USB device of this pod. */
export function usesHostUsb(vmi: VirtualMachineInstance, facts: DomainFacts): boolean {
  const pools = new DevicePools(facts.env ?? {});
  return (vmi.spec.domain.devices.hostDevices ?? []).some(({ deviceName = '' }) =>
    pools.has(envName('USB_RESOURCE', deviceName)),
  );
}
