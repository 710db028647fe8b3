import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** A function of a simulated PCI bus. */
export interface SimulatedFunction {
  readonly address: string;
  /** For example `8086:154c`. */
  readonly id: string;
  readonly driver?: string;
  readonly group?: string;
  /** The physical function it belongs to. */
  readonly of?: string;
  /** Links of a physical function. */
  readonly links?: readonly string[];
}

/** Writes the part of a sysfs tree that describes these devices, in the form that the kernel gives it. */
export async function writeSysfs(
  root: string,
  {
    functions = [],
    usb = {},
  }: { readonly functions?: readonly SimulatedFunction[]; readonly usb?: Readonly<Record<string, object>> },
): Promise<void> {
  const pci = join(root, 'bus/pci/devices');
  const counts = new Map<string, number>();
  for (const { address, id, driver, group, of, links = [] } of functions) {
    const [vendor = '', device = ''] = id.split(':');
    await writeFiles(join(pci, address), { vendor: `0x${vendor}\n`, device: `0x${device}\n` });
    if (driver) await link(join(pci, address, 'driver'), join(root, 'bus/pci/drivers', driver));
    if (group) await link(join(pci, address, 'iommu_group'), join(root, 'kernel/iommu_groups', group));
    for (const name of links) await mkdir(join(pci, address, 'net', name), { recursive: true });
    if (of === undefined) continue;
    const index = counts.get(of) ?? 0;
    counts.set(of, index + 1);
    await link(join(pci, address, 'physfn'), join(pci, of));
    await link(join(pci, of, `virtfn${index}`), join(pci, address));
    await writeFiles(join(pci, of), { sriov_numvfs: `${index + 1}\n` });
  }
  for (const [name, files] of Object.entries(usb))
    await writeFiles(
      join(root, 'bus/usb/devices', name),
      Object.fromEntries(Object.entries(files).map(([file, value]) => [file, `${value}\n`])),
    );
}

async function writeFiles(directory: string, files: Readonly<Record<string, string>>): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const [name, content] of Object.entries(files)) await writeFile(join(directory, name), content);
}

async function link(path: string, to: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  // only the last part of where it points to says something
  await symlink(join('..', basename(to)), path);
}
