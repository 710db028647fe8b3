import { el, type XmlElement } from '../xml.ts';

// Slot 0 is the host bridge and slot 1 the display.
const FIRST_SLOT = 2;
// KubeVirt-compat: the order in which slots are given out; a guest keeps its addresses across restarts because of it.
const ORDER = ['interface', 'hostdev', 'controller', 'disk', 'input', 'watchdog', 'rng', 'memballoon'];

function wantsSlot(element: XmlElement): boolean {
  const { name, attributes, children } = element;
  if (!ORDER.includes(name)) return false;
  if (children.some((child) => typeof child !== 'string' && child.name === 'address')) return false;
  if (name === 'disk') return attributes['model'] !== undefined;
  if (name === 'input') return attributes['bus'] === 'virtio';
  if (name === 'memballoon') return attributes['model'] !== 'none';
  if (name === 'hostdev') return attributes['type'] !== 'usb';
  return name !== 'controller' || attributes['type'] !== 'pci';
}

/** Gives every PCI device a slot of its own on the root bus, for guests that cannot handle bridges. */
export function placeOnRootComplex(devices: readonly XmlElement[]): readonly XmlElement[] {
  const slots = new Map<XmlElement, number>();
  let slot = FIRST_SLOT;
  for (const name of ORDER)
    for (const device of devices) if (device.name === name && wantsSlot(device)) slots.set(device, slot++);
  return devices.map((device) => {
    const own = slots.get(device);
    if (own === undefined) return device;
    const hex = own.toString(16).padStart(2, '0');
    const address = el('address', { type: 'pci', domain: '0x0000', bus: '0x00', slot: `0x${hex}`, function: '0x0' });
    return { ...device, children: [...device.children, address] };
  });
}
