import { renderXml, type XmlElement } from '@slipway/virt';
import { asElement } from './write-xml.ts';
import type { XmlNode } from './xml-tree.ts';

/** What describes the disc in a drive rather than the drive. */
const DISC_PARTS: readonly string[] = ['source', 'backingStore'];

const isDiscPart = (part: XmlElement | string): boolean => typeof part !== 'string' && DISC_PARTS.includes(part.name);

/** The drive as libvirt described it, without its disc: the document that ejects. */
export function emptyDriveXml(drive: XmlNode): string {
  const own = asElement(drive);
  return renderXml({ ...own, children: own.children.filter((part) => !isDiscPart(part)) });
}

/**
 * The drive as libvirt described it with the disc of another disk: libvirt refuses to change anything of a drive, such as
 * its cache mode, but the disc and the disc's format.
 */
export function loadedDriveXml(drive: XmlNode, disk: XmlElement): string {
  const own = asElement(drive);
  const type = driverOf(disk)?.attributes['type'];
  const driver = {
    name: 'driver',
    children: [],
    attributes: { ...driverOf(own)?.attributes, ...(type !== undefined && { type }) },
  };
  const kept = own.children.filter((part) => !isDiscPart(part) && part !== driverOf(own));
  return renderXml({ ...own, children: [driver, ...disk.children.filter(isDiscPart), ...kept] });
}

function driverOf({ children }: XmlElement): XmlElement | undefined {
  return children.find((part): part is XmlElement => typeof part !== 'string' && part.name === 'driver');
}
