import type { core, Service } from '@slipway/api';
import { type FieldError, type UnstructuredObject, StatusError, invalid, invalidValue } from '@slipway/apimachinery';
import type { StrategyContext } from '../../registry/resource-definition.ts';
import { typed } from '../define.ts';
import { canonicalAddress, familyOf, type IpRange, ipRange } from './ip-range.ts';
import { settleFamilies } from './service-families.ts';

/** Where cluster addresses and node ports come from. */
export interface ServiceRanges {
  /** One for each family, the first of them for Services that do not say; for example `10.0.0.0/16`. */
  readonly serviceCidrs: readonly string[];
  readonly nodePorts: { readonly first: number; readonly last: number };
}

const RECENT = 4096;

/** Hands out cluster addresses and node ports that no stored Service uses. */
export class ServiceAllocator {
  private readonly ranges: ServiceRanges;
  private readonly networks: readonly IpRange[];
  /** Given out, but perhaps not stored yet. */
  private readonly recent = new Set<string>();
  private readonly nextAddress = new Map<string, number>();
  private nextPort = 0;

  constructor(ranges: ServiceRanges) {
    this.ranges = ranges;
    this.networks = ranges.serviceCidrs.map(ipRange);
  }

  /** Fills in what `service` needs and checks what it names. Throws StatusError 422. */
  allocate(service: Service, context: StrategyContext): void {
    const { spec } = service;
    if (spec === undefined || spec.type === 'ExternalName') return;
    const used = usedBy(context.lookupAll('', 'services'), service);
    if (spec.clusterIP && !spec.clusterIPs?.length) spec.clusterIPs = [spec.clusterIP];
    const errors = settleFamilies(
      spec,
      this.networks.map(({ family }) => family),
    );
    if (errors.length > 0) throw refused(service, ...errors);
    this.allocateAddresses(service, spec, used);
    this.allocatePorts(service, spec, used);
  }

  private allocateAddresses(service: Service, spec: core.ServiceSpec, used: ReadonlySet<string>): void {
    if (spec.clusterIP === 'None') {
      spec.clusterIPs = ['None'];
      return;
    }
    const given = (spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP ?? '']).filter(Boolean);
    spec.clusterIPs = (spec.ipFamilies ?? []).flatMap((family, index) => {
      const network = this.networks.find((one) => one.family === family);
      const address = given[index];
      if (address !== undefined) this.checkAddress(service, address, index, used);
      if (address !== undefined || network === undefined) return address ?? [];
      return this.takeAddress(network, used);
    });
    spec.clusterIP = spec.clusterIPs[0] ?? '';
  }

  private allocatePorts(service: Service, spec: core.ServiceSpec, used: ReadonlySet<string>): void {
    if (spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local') {
      const wanted = spec.healthCheckNodePort;
      if (wanted) this.checkPort(service, wanted, 'spec.healthCheckNodePort', used);
      else spec.healthCheckNodePort = this.takePort(used);
    } else delete spec.healthCheckNodePort;
    const needsPorts = spec.type === 'NodePort' || (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false);
    if (!needsPorts) return;
    spec.ports?.forEach((port, index) => {
      if (port.nodePort) this.checkPort(service, port.nodePort, `spec.ports[${index}].nodePort`, used);
      else port.nodePort = this.takePort(used);
    });
  }

  private takeAddress(network: IpRange, used: ReadonlySet<string>): string {
    const { size, text } = network;
    const next = this.nextAddress.get(text) ?? 10;
    for (let i = 0; i < size; i++) {
      const offset = 2 + ((next - 2 + i) % (size - 3)); // .0 is the network, .1 the API server, the last broadcast
      const address = network.addressAt(offset);
      if (used.has(address) || this.recent.has(address)) continue;
      this.nextAddress.set(text, offset + 1);
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

  private checkAddress(service: Service, address: string, index: number, used: ReadonlySet<string>): void {
    const network = this.networks.find(({ family }) => family === familyOf(address));
    if (network === undefined) return; // a malformed address is a finding of validation
    const inRange = network.contains(address);
    if (inRange && !used.has(canonicalAddress(address))) return;
    const reason = inRange
      ? 'provided IP is already allocated'
      : `the provided IP (${address}) is not in the valid range. The range of valid IPs is ${network.text}`;
    const value = service.spec?.clusterIPs?.length ? service.spec.clusterIPs : [address];
    throw refused(
      service,
      invalidValue(
        index === 0 ? 'spec.clusterIPs' : `spec.clusterIPs[${index}]`,
        value,
        `failed to allocate IP ${address}: ${reason}`,
      ),
    );
  }

  private checkPort(service: Service, port: number, path: string, used: ReadonlySet<string>): void {
    const { first, last } = this.ranges.nodePorts;
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
    for (const address of spec?.clusterIPs ?? (spec?.clusterIP ? [spec.clusterIP] : [])) {
      if (familyOf(address)) used.add(canonicalAddress(address));
    }
    if (spec?.healthCheckNodePort) used.add(`port ${spec.healthCheckNodePort}`);
    for (const port of spec?.ports ?? []) if (port.nodePort) used.add(`port ${port.nodePort}`);
  }
  return used;
}

const refused = (service: Service, ...errors: FieldError[]): StatusError =>
  invalid({ group: '', kind: 'Service' }, service.metadata.name ?? '', errors);

const exhausted = (message: string): StatusError => new StatusError({ code: 500, reason: 'InternalError', message });
