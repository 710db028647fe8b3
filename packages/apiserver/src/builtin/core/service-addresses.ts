import type { Service } from '@slipway/api';
import { type UnstructuredObject, StatusError, invalid, invalidValue } from '@slipway/apimachinery';
import type { StrategyContext } from '../../registry/resource-definition.ts';
import { typed } from '../define.ts';

/** Where cluster addresses and node ports come from. */
export interface ServiceRanges {
  /** IPv4, for example `10.0.0.0/16`. */
  readonly serviceCidr: string;
  readonly nodePorts: { readonly first: number; readonly last: number };
}

const RECENT = 4096;

/** Hands out cluster addresses and node ports that no stored Service uses. */
export class ServiceAllocator {
  private readonly ranges: ServiceRanges;
  /** Given out, but perhaps not stored yet. */
  private readonly recent = new Set<string>();
  private nextAddress = 10;
  private nextPort = 0;

  constructor(ranges: ServiceRanges) {
    this.ranges = ranges;
  }

  /** Fills in what `service` needs and checks what it names. Throws StatusError 422. */
  allocate(service: Service, context: StrategyContext): void {
    const { spec } = service;
    if (spec === undefined || spec.type === 'ExternalName') return;
    const used = usedBy(context.lookupAll('', 'services'), service);
    if (spec.clusterIP === undefined || spec.clusterIP === '') spec.clusterIP = this.takeAddress(used);
    else if (spec.clusterIP !== 'None') this.checkAddress(service, spec.clusterIP, used);
    spec.clusterIPs = [spec.clusterIP];
    spec.ipFamilies ??= [spec.clusterIP.includes(':') ? 'IPv6' : 'IPv4'];
    spec.ipFamilyPolicy ??= 'SingleStack';
    const needsPorts = spec.type === 'NodePort' || (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false);
    if (!needsPorts) return;
    spec.ports?.forEach((port, index) => {
      if (port.nodePort) this.checkPort(service, port.nodePort, index, used);
      else port.nodePort = this.takePort(used);
    });
  }

  private takeAddress(used: ReadonlySet<string>): string {
    const { base, size } = parseCidr(this.ranges.serviceCidr);
    for (let i = 0; i < size; i++) {
      const offset = 2 + ((this.nextAddress - 2 + i) % (size - 3)); // .0 is the network, .1 the API server, the last broadcast
      const address = formatIpv4(base + offset);
      if (used.has(address) || this.recent.has(address)) continue;
      this.nextAddress = offset + 1;
      this.remember(address);
      return address;
    }
    throw exhausted('no cluster address is free');
  }

  private takePort(used: ReadonlySet<string>): number {
    const { first, last } = this.ranges.nodePorts;
    const size = last - first + 1;
    for (let i = 0; i < size; i++) {
      const port = first + ((this.nextPort + i) % size);
      const key = `port ${port}`;
      if (used.has(key) || this.recent.has(key)) continue;
      this.nextPort = port - first + 1;
      this.remember(key);
      return port;
    }
    throw exhausted('no node port is free');
  }

  private remember(key: string): void {
    this.recent.add(key);
    for (const oldest of this.recent) {
      if (this.recent.size <= RECENT) break;
      this.recent.delete(oldest);
    }
  }

  private checkAddress(service: Service, address: string, used: ReadonlySet<string>): void {
    const value = ipv4ToNumber(address);
    if (value === undefined) return; // a malformed address is a finding of validation
    const { base, size } = parseCidr(this.ranges.serviceCidr);
    const inRange = value >= base && value < base + size;
    if (inRange && !used.has(address)) return;
    const reason = inRange
      ? 'provided IP is already allocated'
      : `the provided IP (${address}) is not in the valid range. The range of valid IPs is ${this.ranges.serviceCidr}`;
    throw refused(service, invalidValue('spec.clusterIPs', [address], `failed to allocate IP ${address}: ${reason}`));
  }

  private checkPort(service: Service, port: number, index: number, used: ReadonlySet<string>): void {
    const { first, last } = this.ranges.nodePorts;
    const path = `spec.ports[${index}].nodePort`;
    if (port < first || port > last) {
      const text = `provided port is not in the valid range. The range of valid ports is ${first}-${last}`;
      throw refused(service, invalidValue(path, port, text));
    }
    if (used.has(`port ${port}`)) throw refused(service, invalidValue(path, port, 'provided port is already allocated'));
  }
}

function usedBy(services: readonly UnstructuredObject[], except: Service): Set<string> {
  const used = new Set<string>();
  for (const object of services) {
    if (object.metadata.uid === except.metadata.uid) continue;
    const { spec } = typed<Service>(object);
    if (spec?.clusterIP) used.add(spec.clusterIP);
    for (const port of spec?.ports ?? []) if (port.nodePort) used.add(`port ${port.nodePort}`);
  }
  return used;
}

const refused = (service: Service, error: ReturnType<typeof invalidValue>): StatusError =>
  invalid({ group: '', kind: 'Service' }, service.metadata.name ?? '', [error]);

const exhausted = (message: string): StatusError => new StatusError({ code: 500, reason: 'InternalError', message });

function ipv4ToNumber(address: string): number | undefined {
  if (!/^(\d{1,3}\.){3}\d{1,3}$/.test(address)) return undefined;
  return address.split('.').reduce((value, part) => value * 256 + Number(part), 0);
}

const formatIpv4 = (value: number): string => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');

function parseCidr(cidr: string): { base: number; size: number } {
  const [address = '', prefix = '0'] = cidr.split('/');
  const base = ipv4ToNumber(address);
  if (base === undefined) throw new Error(`Service range ${cidr} is not an IPv4 network`);
  return { base, size: 2 ** (32 - Number(prefix)) };
}
