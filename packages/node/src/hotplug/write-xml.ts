import { el, renderXml, type XmlElement } from '@slipway/virt';
import type { XmlNode } from './xml-tree.ts';

/** What libvirt wrote, as it wants it back. */
export function asElement({ name, attributes, children, text }: XmlNode): XmlElement {
  const trimmed = text.trim();
  return el(name, { ...attributes }, ...children.map(asElement), trimmed !== '' && trimmed);
}

/** The document of a detach or update call for a device that libvirt described. */
export function deviceXml(node: XmlNode): string {
  return renderXml(asElement(node));
}
