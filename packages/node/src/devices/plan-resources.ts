import type { kubevirt } from '@slipway/api';
import type { Inventory, PciDevice, UsbDevice } from './inventory.ts';
import type { FunctionRange, SriovResource, SriovSelector } from './sriov-config.ts';

/** How a guest gets a device; decides what the launcher is told. */
export type DeviceKind = 'pci' | 'usb' | 'mdev' | 'sriov';

/** One thing that a resource can give away. */
export interface OfferedDevice {
  /** Address of a PCI function, `bus:device` of USB devices, or the UUID of a mediated device. Several go together. */
  readonly ids: readonly string[];
  /** Files below /dev that the guest's QEMU opens. */
  readonly nodes: readonly string[];
}

/** A resource of the node, as pods ask for it. */
export interface DeviceResource {
  readonly name: string;
  readonly kind: DeviceKind;
  readonly devices: readonly OfferedDevice[];
  /** Why devices that match cannot be given, or that none matches. */
  readonly problems: readonly string[];
}

export interface ResourceInputs {
  readonly inventory: Inventory;
  readonly permitted: kubevirt.PermittedHostDevices | undefined;
  readonly sriov: readonly SriovResource[];
}

const VFIO = 'vfio-pci';
const CONTAINER = 'vfio/vfio';

/** The resources that this host offers. A device goes to the first resource that it matches. Pure. */
export function planResources({ inventory, permitted = {}, sriov }: ResourceInputs): readonly DeviceResource[] {
  const taken = new Set<string>();
  const own = <T extends { readonly externalResourceProvider?: boolean }>(entries: readonly T[] | undefined): readonly T[] =>
    (entries ?? []).filter(({ externalResourceProvider }) => externalResourceProvider !== true);
  return [
    ...sriov.map(({ resourceName, selectors }) => {
      const fits = (device: PciDevice): boolean =>
        device.virtual !== undefined && selectors.some((selector) => matches(selector, device));
      return pciResource(resourceName, 'sriov', inventory.pci.filter(fits), taken);
    }),
    ...grouped(own(permitted.pciHostDevices)).map(([name, entries]) => {
      const ids = new Set(entries.map(({ pciVendorSelector }) => pciVendorSelector.toLowerCase()));
      const fits = ({ vendor, device }: PciDevice): boolean => ids.has(`${vendor}:${device}`);
      return pciResource(name, 'pci', inventory.pci.filter(fits), taken);
    }),
    ...grouped(own(permitted.mediatedDevices)).map(([name, entries]) => {
      const types = new Set(entries.map(({ mdevNameSelector }) => mdevNameSelector.replaceAll(' ', '_')));
      return mediatedResource(name, inventory, types);
    }),
    ...own(permitted.usb).map(({ resourceName, selectors }) => usbResource(resourceName, inventory.usb, selectors ?? [], taken)),
  ];
}

function grouped<T extends { readonly resourceName: string }>(entries: readonly T[]): readonly (readonly [string, T[]])[] {
  const groups = new Map<string, T[]>();
  for (const entry of entries) groups.set(entry.resourceName, [...(groups.get(entry.resourceName) ?? []), entry]);
  return [...groups];
}

function pciResource(name: string, kind: 'pci' | 'sriov', found: readonly PciDevice[], taken: Set<string>): DeviceResource {
  const free = found.filter(({ address }) => !taken.has(address));
  const usable = free.filter((device) => obstacleOf(device) === undefined);
  for (const { address } of usable) taken.add(address);
  const what = kind === 'sriov' ? 'virtual function' : 'PCI device';
  return {
    ...{ name, kind },
    devices: usable.map(({ address, iommuGroup }) => ({ ids: [address], nodes: [CONTAINER, `vfio/${iommuGroup}`] })),
    problems: found.length === 0 ? [`no ${what} of this host matches`] : free.flatMap((device) => obstacleOf(device) ?? []),
  };
}

/** Why a guest cannot have the function. */
function obstacleOf({ address, driver, iommuGroup }: PciDevice): string | undefined {
  if (driver !== VFIO)
    return `${address} is bound to ${driver === undefined ? 'no driver' : `"${driver}"`} instead of ${VFIO}: "driverctl set-override ${address} ${VFIO}"`;
  if (iommuGroup === undefined) return `${address} is in no IOMMU group: switch the IOMMU on in the firmware and the kernel`;
  return undefined;
}

function mediatedResource(name: string, { mediated }: Inventory, types: ReadonlySet<string>): DeviceResource {
  const found = mediated.filter(({ type }) => types.has(type));
  return {
    ...{ name, kind: 'mdev' },
    devices: found.flatMap(({ uuid, iommuGroup }) =>
      iommuGroup === undefined ? [] : [{ ids: [uuid], nodes: [CONTAINER, `vfio/${iommuGroup}`] }],
    ),
    problems: found.length === 0 ? ['no mediated device of this host matches'] : [],
  };
}

/** KubeVirt-compat: one unit of the resource has a device for each selector. */
function usbResource(
  name: string,
  usb: readonly UsbDevice[],
  selectors: readonly kubevirt.USBSelector[],
  taken: Set<string>,
): DeviceResource {
  const idOf = ({ bus, device }: UsbDevice): string => `${bus}:${device}`;
  const columns = selectors.map(({ vendor, product }) =>
    usb.filter(
      (device) => !taken.has(idOf(device)) && device.vendor === vendor.toLowerCase() && device.product === product.toLowerCase(),
    ),
  );
  const devices: OfferedDevice[] = [];
  for (;;) {
    const set: UsbDevice[] = [];
    for (const column of columns) {
      const device = column.find((entry) => !taken.has(idOf(entry)) && !set.includes(entry));
      if (device) set.push(device);
    }
    if (set.length === 0 || set.length < selectors.length) break;
    for (const device of set) taken.add(idOf(device));
    devices.push({ ids: set.map(idOf), nodes: set.map(nodeOf) });
  }
  return { ...{ name, kind: 'usb', devices }, problems: devices.length === 0 ? ['no USB device of this host matches'] : [] };
}

const nodeOf = ({ bus, device }: UsbDevice): string =>
  `bus/usb/${String(bus).padStart(3, '0')}/${String(device).padStart(3, '0')}`;

function matches(selector: SriovSelector, { vendor, device, driver, address, acpiIndex, virtual }: PciDevice): boolean {
  const allows = (allowed: readonly string[], value: string | undefined): boolean =>
    allowed.length === 0 || (value !== undefined && allowed.includes(value));
  const within = (ranges: readonly FunctionRange[], names: readonly string[]): boolean =>
    ranges.length === 0 ||
    ranges.some(({ name, indexes }) => names.includes(name) && (indexes?.includes(virtual?.index ?? -1) ?? true));
  return (
    allows(selector.vendors, vendor) &&
    allows(selector.devices, device) &&
    allows(selector.drivers, driver) &&
    allows(selector.pciAddresses, address) &&
    allows(selector.acpiIndexes, acpiIndex) &&
    within(selector.pfNames, virtual?.links ?? []) &&
    within(selector.rootDevices, virtual === undefined ? [] : [virtual.of])
  );
}
