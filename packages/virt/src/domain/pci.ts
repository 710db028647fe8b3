import { el, type XmlElement } from '../xml.ts';
import { DomainPlanError } from './facts.ts';

const PCI = /^([\da-fA-F]{4}):([\da-fA-F]{2}):([\da-fA-F]{2})\.([0-7])$/;

/** `<address type='pci'>` from `DDDD:BB:SS.F`. */
export function pciAddressElement(address: string): XmlElement {
  const match = PCI.exec(address);
  if (!match) throw new DomainPlanError(`Failed to parse PCI address ${address}`);
  const [, domain, bus, slot, fn] = match;
  return el('address', { type: 'pci', domain: `0x${domain}`, bus: `0x${bus}`, slot: `0x${slot}`, function: `0x${fn}` });
}

/** True for text of the form `DDDD:BB:SS.F`. */
export function isPciAddress(address: string): boolean {
  return PCI.test(address);
}

/** The root bus and numbered root ports: libvirt would number ports itself, but then adds none to spare. */
export function rootPortElements(ports: number): readonly XmlElement[] {
  const root = el('controller', { type: 'pci', index: 0, model: 'pcie-root' });
  return [
    root,
    ...Array.from({ length: ports }, (_, index) => el('controller', { type: 'pci', index: index + 1, model: 'pcie-root-port' })),
  ];
}
