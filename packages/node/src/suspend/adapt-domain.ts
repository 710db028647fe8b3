import { el, renderXml, type XmlElement } from '@slipway/virt';
import { asElement } from '../hotplug/write-xml.ts';
import { child, parseXml, type XmlNode } from '../hotplug/xml-tree.ts';

/** Where the devices of a domain are in another sandbox, by the names of the VMI spec. */
export interface DevicePlaces {
  readonly disks: ReadonlyMap<string, { readonly path: string; readonly format: string }>;
  readonly taps: ReadonlyMap<string, string>;
  /** Files that the firmware reads, by the name of their element; what is absent stays where it is. */
  readonly files?: ReadonlyMap<string, string>;
}

/** Elements of the `os` section that are paths of the sandbox. */
export const FIRMWARE_FILES = ['nvram', 'kernel', 'initrd'] as const;

const ALIAS_PREFIX = 'ua-';

/**
 * The document of a saved or moving domain with the files and links of another sandbox; everything the guest sees stays. Throws when
 * a device of the guest has no place any more. Pure.
 */
export function adaptDomain(saved: string, places: DevicePlaces): string {
  const domain = parseXml(saved);
  return renderXml(
    el(
      domain.name,
      { ...domain.attributes },
      domain.children.map((section) => adaptSection(section, places)),
    ),
  );
}

/** Names of the domain's disks, such as `vda`, by the names of the VMI spec. Pure. */
export function diskTargets(document: string): ReadonlyMap<string, string> {
  const devices = child(parseXml(document), 'devices')?.children ?? [];
  return new Map(
    devices.flatMap((device) => {
      const target = device.name === 'disk' ? child(device, 'target')?.attributes['dev'] : undefined;
      return target === undefined ? [] : [[nameOf(device), target] as const];
    }),
  );
}

function adaptSection(section: XmlNode, places: DevicePlaces): XmlElement {
  const change = (part: XmlNode): XmlElement => {
    if (section.name === 'devices') return adaptDevice(part, places);
    const isFile = FIRMWARE_FILES.some((name) => name === part.name);
    return asElement({ ...part, text: (isFile ? places.files?.get(part.name) : undefined) ?? part.text });
  };
  if (section.name !== 'devices' && section.name !== 'os') return asElement(section);
  return el(section.name, { ...section.attributes }, section.children.map(change));
}

function adaptDevice(device: XmlNode, { disks, taps }: DevicePlaces): XmlElement {
  const name = nameOf(device);
  if (device.name === 'disk' && child(device, 'source') !== undefined) {
    const place = disks.get(name);
    if (place === undefined) throw new Error(`The guest has a disk "${name}" that has no place here`);
    return adaptDisk(device, place);
  }
  if (device.name === 'interface' && taps.has(name)) return adaptInterface(device, taps.get(name) ?? '');
  return asElement(device);
}

const nameOf = (device: XmlNode): string => {
  const alias = child(device, 'alias')?.attributes['name'] ?? '';
  return alias.startsWith(ALIAS_PREFIX) ? alias.slice(ALIAS_PREFIX.length) : '';
};

function adaptDisk(disk: XmlNode, { path, format }: { readonly path: string; readonly format: string }): XmlElement {
  const parts = disk.children.flatMap((part) => {
    // the files below may have other names, or be more: QEMU reads them from the overlay
    if (part.name === 'backingStore') return [];
    if (part.name === 'driver') return [asElement({ ...part, attributes: { ...part.attributes, type: format } })];
    return part.name === 'source' ? [el('source', { file: path })] : [asElement(part)];
  });
  return el('disk', { ...disk.attributes }, parts);
}

function adaptInterface(nic: XmlNode, tap: string): XmlElement {
  const parts = nic.children.map((part) =>
    part.name === 'target' ? asElement({ ...part, attributes: { ...part.attributes, dev: tap } }) : asElement(part),
  );
  return el('interface', { ...nic.attributes }, parts);
}
