import { readdir, readFile, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';

/** A PCI function of this host. */
export interface PciDevice {
  /** For example `0000:03:00.2`. */
  readonly address: string;
  /** Four hex digits each, lower case. */
  readonly vendor: string;
  readonly device: string;
  readonly driver: string | undefined;
  readonly iommuGroup: string | undefined;
  readonly acpiIndex: string | undefined;
  /** For a virtual function: the physical one, its number there, and the names of the physical one's links. */
  readonly virtual: { readonly of: string; readonly index: number; readonly links: readonly string[] } | undefined;
  /** How many virtual functions it has now. */
  readonly virtualFunctions: number;
}

export interface UsbDevice {
  readonly vendor: string;
  readonly product: string;
  readonly serial: string;
  readonly bus: number;
  readonly device: number;
}

export interface MediatedDevice {
  readonly uuid: string;
  readonly type: string;
  readonly iommuGroup: string | undefined;
}

/** Devices of this host that guests could be given. */
export interface Inventory {
  readonly pci: readonly PciDevice[];
  readonly usb: readonly UsbDevice[];
  readonly mediated: readonly MediatedDevice[];
}

const list = (path: string): Promise<string[]> =>
  readdir(path).then(
    (names) => names.sort(),
    () => [],
  );
const text = (path: string): Promise<string> =>
  readFile(path, 'utf8').then(
    (content) => content.trim(),
    () => '',
  );
const target = (path: string): Promise<string | undefined> => readlink(path).then(basename, () => undefined);
const hex = (value: string): string => value.replace(/^0x/, '').toLowerCase().padStart(4, '0');

/** Reads the devices from a sysfs tree; what cannot be read is not there. */
export async function readInventory(root = '/sys'): Promise<Inventory> {
  const [pci, usb, mediated] = await Promise.all([
    each(join(root, 'bus/pci/devices'), readPci),
    each(join(root, 'bus/usb/devices'), readUsb),
    each(join(root, 'bus/mdev/devices'), readMediated),
  ]);
  return { pci, usb, mediated };
}

async function each<T>(directory: string, read: (path: string) => Promise<T | undefined>): Promise<T[]> {
  const found = await Promise.all((await list(directory)).map((name) => read(join(directory, name))));
  return found.filter((entry) => entry !== undefined);
}

async function readPci(path: string): Promise<PciDevice> {
  const [vendor, device, driver, iommuGroup, acpiIndex, functions] = await Promise.all([
    text(join(path, 'vendor')),
    text(join(path, 'device')),
    target(join(path, 'driver')),
    target(join(path, 'iommu_group')),
    text(join(path, 'acpi_index')),
    text(join(path, 'sriov_numvfs')),
  ]);
  return {
    ...{ address: basename(path), vendor: hex(vendor), device: hex(device), driver, iommuGroup },
    acpiIndex: acpiIndex === '' ? undefined : acpiIndex,
    virtual: await readVirtual(path),
    virtualFunctions: Number(functions) || 0,
  };
}

async function readVirtual(path: string): Promise<PciDevice['virtual']> {
  const of = await target(join(path, 'physfn'));
  if (of === undefined) return undefined;
  const physical = join(path, '..', of);
  const functions = (await list(physical)).filter((name) => name.startsWith('virtfn'));
  const targets = await Promise.all(functions.map((name) => target(join(physical, name))));
  const index = Number(functions[targets.indexOf(basename(path))]?.slice('virtfn'.length) ?? '-1');
  return { of, index, links: await list(join(physical, 'net')) };
}

async function readUsb(path: string): Promise<UsbDevice | undefined> {
  // interfaces of a device are directories, too
  if (basename(path).includes(':')) return undefined;
  const [vendor, product, serial, bus, device] = await Promise.all(
    ['idVendor', 'idProduct', 'serial', 'busnum', 'devnum'].map((name) => text(join(path, name))),
  );
  if (!vendor || !product) return undefined;
  return { vendor: hex(vendor), product: hex(product), serial: serial ?? '', bus: Number(bus), device: Number(device) };
}

async function readMediated(path: string): Promise<MediatedDevice> {
  const kind = join(path, 'mdev_type');
  const name = await text(join(kind, 'name'));
  // types without a name are known by the name of their directory
  const type = name === '' ? ((await target(kind)) ?? '') : name.replaceAll(' ', '_');
  return { uuid: basename(path), type, iommuGroup: await target(join(path, 'iommu_group')) };
}
