import { el, renderXml, type XmlElement } from '@slipway/virt';
import { asElement } from '../hotplug/write-xml.ts';
import { child, parseXml, type XmlNode } from '../hotplug/xml-tree.ts';

/** Where the devices of a saved domain are now, by the names of the VMI spec. */
export interface DevicePlaces {
  readonly disks: ReadonlyMap<string, { readonly path: string; readonly format: string }>;
  readonly taps: ReadonlyMap<string, string>;
}

const ALIAS_PREFIX = 'ua-';

/**
 * The document of a saved domain with the files and links of another sandbox; everything the guest sees stays. Throws when
 * a device of the guest has no place any more. Pure.
 */
export function adaptDomain(saved: string, places: DevicePlaces): string {
  const domain = parseXml(saved);
  return renderXml(rewritten(domain, (device) => adaptDevice(device, places)));
}

/** The domain with each of its devices replaced. */
function rewritten(domain: XmlNode, change: (device: XmlNode) => XmlElement): XmlElement {
  const sections = domain.children.map((section) =>
    section.name === 'devices' ? el('devices', { ...section.attributes }, section.children.map(change)) : asElement(section),
  );
  return el(domain.name, { ...domain.attributes }, sections);
}

function adaptDevice(device: XmlNode, { disks, taps }: DevicePlaces): XmlElement {
  const name = nameOf(device);
  if (device.name === 'disk' && child(device, 'source') !== undefined) {
    const place = disks.get(name);
    if (place === undefined) throw new Error(`The saved guest has a disk "${name}" that this VM has no more`);
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
