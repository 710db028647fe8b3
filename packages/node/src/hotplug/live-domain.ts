import { child, children, parseXml, type XmlNode } from './xml-tree.ts';

export interface LiveDisk {
  /** Name of the volume, from the alias that the planner gave it. */
  readonly name: string;
  readonly alias: string;
  readonly target: string;
  readonly bus: string;
  /** Absent: an empty drive. */
  readonly source: string | undefined;
  readonly ioThread: number | undefined;
  /** As libvirt wrote it; a detach call takes this back. */
  readonly element: XmlNode;
}

export interface LiveInterface {
  readonly name: string;
  readonly alias: string;
  readonly mac: string;
  readonly tap: string | undefined;
  readonly linkState: 'up' | 'down';
  readonly element: XmlNode;
}

/** A virtio-mem device. */
export interface LiveMemory {
  readonly alias: string;
  readonly sizeBytes: number;
  readonly requestedBytes: number;
  readonly currentBytes: number;
  readonly element: XmlNode;
}

/** What a running domain consists of, as far as it can change while it runs. */
export interface LiveDomain {
  readonly disks: readonly LiveDisk[];
  readonly interfaces: readonly LiveInterface[];
  /** Aliases of devices of the host. */
  readonly hostDevices: readonly string[];
  readonly memory: readonly LiveMemory[];
  /** vCPUs that the guest has and can have. */
  readonly vcpus: { readonly current: number; readonly maximum: number };
  readonly ioThreads: readonly number[];
}

const ALIAS_PREFIX = 'ua-';

/** Reads `virsh dumpxml` of a running domain. */
export function liveDomain(xml: string): LiveDomain {
  const domain = parseXml(xml);
  const devices = child(domain, 'devices');
  const vcpu = child(domain, 'vcpu');
  const maximum = Number(vcpu?.text ?? 0);
  return {
    disks: children(devices, 'disk').map(diskOf),
    interfaces: children(devices, 'interface').map(interfaceOf),
    hostDevices: children(devices, 'hostdev').map(aliasOf),
    memory: children(devices, 'memory').map(memoryOf),
    vcpus: { maximum, current: Number(vcpu?.attributes['current'] ?? maximum) },
    ioThreads: ioThreadsOf(domain),
  };
}

const aliasOf = (node: XmlNode): string => child(node, 'alias')?.attributes['name'] ?? '';
const nameOf = (alias: string): string => (alias.startsWith(ALIAS_PREFIX) ? alias.slice(ALIAS_PREFIX.length) : '');

function diskOf(element: XmlNode): LiveDisk {
  const alias = aliasOf(element);
  const { dev = '', bus = '' } = child(element, 'target')?.attributes ?? {};
  const { file, dev: device } = child(element, 'source')?.attributes ?? {};
  const thread = child(element, 'driver')?.attributes['iothread'];
  return {
    ...{ name: nameOf(alias), alias, target: dev, bus, source: file ?? device, element },
    ioThread: thread === undefined ? undefined : Number(thread),
  };
}

function interfaceOf(element: XmlNode): LiveInterface {
  const alias = aliasOf(element);
  return {
    ...{ name: nameOf(alias), alias, element },
    mac: child(element, 'mac')?.attributes['address'] ?? '',
    tap: child(element, 'target')?.attributes['dev'],
    linkState: child(element, 'link')?.attributes['state'] === 'down' ? 'down' : 'up',
  };
}

function memoryOf(element: XmlNode): LiveMemory {
  const target = child(element, 'target');
  return {
    alias: aliasOf(element),
    sizeBytes: bytesOf(child(target, 'size')),
    requestedBytes: bytesOf(child(target, 'requested')),
    currentBytes: bytesOf(child(target, 'current')),
    element,
  };
}

const UNITS: Readonly<Record<string, number>> = { b: 1, bytes: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

function bytesOf(node: XmlNode | undefined): number {
  return Number(node?.text ?? 0) * (UNITS[node?.attributes['unit'] ?? 'KiB'] ?? 1024);
}

/** With explicit numbers when libvirt knows them, else counted. */
function ioThreadsOf(domain: XmlNode): readonly number[] {
  const ids = children(child(domain, 'iothreadids'), 'iothread').map(({ attributes }) => Number(attributes['id']));
  if (ids.length > 0) return ids;
  return Array.from({ length: Number(child(domain, 'iothreads')?.text ?? 0) }, (_, index) => index + 1);
}
