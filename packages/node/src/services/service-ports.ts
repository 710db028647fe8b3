import { type Endpoint, type EndpointSlice, SERVICE_NAME_LABEL, type Service } from '@slipway/api';
import { isOf } from '../packet-filter/index.ts';

/** Where one connection can be sent. */
export interface Target {
  readonly address: string;
  readonly port: number;
  /** On the node that plans. */
  readonly isLocal: boolean;
}

/** One port of a Service in one address family: what is listened for, and where it leads. */
export interface ServicePort {
  /** `namespace/name:port name`, the same for every node. */
  readonly id: string;
  readonly family: 4 | 6;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly port: number;
  readonly clusterIPs: readonly string[];
  /** Addresses of load balancers and `externalIPs`. */
  readonly externalIPs: readonly string[];
  readonly nodePort?: number;
  /** Where connections from pods and from this machine go. */
  readonly targets: readonly Target[];
  /** Where connections from elsewhere go. */
  readonly externalTargets: readonly Target[];
  /** Whether any node has an endpoint. */
  readonly hasEndpoints: boolean;
  /** Connections from elsewhere keep their source address: `externalTrafficPolicy: Local`. */
  readonly keepsSource: boolean;
  /** Present: a client stays with its endpoint for as long as it comes back within this time. */
  readonly affinitySeconds?: number;
  /** Absent: everybody may use the load balancer's addresses. */
  readonly sourceRanges?: readonly string[];
}

type Spec = NonNullable<Service['spec']>;
type Port = NonNullable<Spec['ports']>[number];

const DEFAULT_AFFINITY_SECONDS = 10_800;

/** Every port of a Service that this node answers for; none for headless ones and names of something external. */
export function servicePorts(service: Service, slices: readonly EndpointSlice[], nodeName: string): ServicePort[] {
  const { spec } = service;
  if (!spec || spec.type === 'ExternalName' || spec.clusterIP === 'None' || !spec.clusterIP) return [];
  const addresses = spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP];
  return ([4, 6] as const).flatMap((family) => {
    const clusterIPs = addresses.filter(isOf(family));
    if (clusterIPs.length === 0) return [];
    const own = slices.filter(({ addressType }) => addressType === (family === 4 ? 'IPv4' : 'IPv6'));
    return (spec.ports ?? []).map((port) => portOf({ service, spec, port, family, clusterIPs }, own, nodeName));
  });
}

interface PortInputs {
  readonly service: Service;
  readonly spec: Spec;
  readonly port: Port;
  readonly family: 4 | 6;
  readonly clusterIPs: readonly string[];
}

function portOf(
  { service, spec, port, family, clusterIPs }: PortInputs,
  slices: readonly EndpointSlice[],
  nodeName: string,
): ServicePort {
  const all = targetsOf(port, slices, nodeName);
  const local = all.filter(({ isLocal }) => isLocal);
  const isExternal = spec.type === 'NodePort' || spec.type === 'LoadBalancer';
  const keepsSource = isExternal && spec.externalTrafficPolicy === 'Local';
  return {
    id: `${service.metadata.namespace}/${service.metadata.name}:${port.name ?? ''}`,
    family,
    protocol: protocolOf(port.protocol),
    port: port.port,
    clusterIPs,
    externalIPs: externalAddresses(service).filter(isOf(family)),
    ...(isExternal && port.nodePort && { nodePort: port.nodePort }),
    targets: spec.internalTrafficPolicy === 'Local' ? local : all,
    externalTargets: keepsSource ? local : all,
    hasEndpoints: all.length > 0,
    keepsSource,
    ...affinityOf(spec),
    ...rangesOf(spec, family),
  };
}

function externalAddresses({ spec, status }: Service): string[] {
  const ingress = (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => (ip ? [ip] : []));
  return [...new Set([...ingress, ...(spec?.externalIPs ?? [])])];
}

function affinityOf({ sessionAffinity, sessionAffinityConfig }: Spec): Pick<ServicePort, 'affinitySeconds'> {
  if (sessionAffinity !== 'ClientIP') return {};
  return { affinitySeconds: sessionAffinityConfig?.clientIP?.timeoutSeconds ?? DEFAULT_AFFINITY_SECONDS };
}

function rangesOf({ loadBalancerSourceRanges = [] }: Spec, family: 4 | 6): Pick<ServicePort, 'sourceRanges'> {
  const ranges = loadBalancerSourceRanges.filter(isOf(family));
  return ranges.length > 0 ? { sourceRanges: ranges } : {};
}

/** Ready endpoints; when there are none, those that still serve while they end. */
function targetsOf(port: Port, slices: readonly EndpointSlice[], nodeName: string): Target[] {
  const targetsWhere = (accepts: (conditions: Partial<Endpoint['conditions']>) => boolean): Target[] =>
    slices.flatMap(({ endpoints, ports }) => {
      // a missing list stands for an empty one
      const number = (ports ?? []).find(({ name }) => (name ?? '') === (port.name ?? ''))?.port;
      if (number === undefined) return [];
      return (endpoints ?? [])
        .filter(({ conditions }) => accepts(conditions ?? {}))
        .flatMap((endpoint) => endpoint.addresses.slice(0, 1).map((address) => ({ address, endpoint })))
        .map(({ address, endpoint }) => ({ address, port: number, isLocal: endpoint.nodeName === nodeName }));
    });
  const ready = targetsWhere((conditions) => conditions.ready !== false);
  const found = ready.length > 0 ? ready : targetsWhere(({ serving, terminating }) => serving === true && terminating === true);
  return [...new Map(found.map((target) => [`${target.address} ${target.port}`, target])).values()].sort((a, b) =>
    a.address < b.address ? -1 : a.address > b.address ? 1 : a.port - b.port,
  );
}

/** The slices of each Service, by `namespace/name`. */
export function slicesByService(slices: readonly EndpointSlice[]): ReadonlyMap<string, readonly EndpointSlice[]> {
  const found = new Map<string, EndpointSlice[]>();
  for (const slice of slices) {
    const key = `${slice.metadata.namespace}/${slice.metadata.labels?.[SERVICE_NAME_LABEL]}`;
    const list = found.get(key);
    if (list) list.push(slice);
    else found.set(key, [slice]);
  }
  return found;
}

function protocolOf(protocol: string | undefined): ServicePort['protocol'] {
  if (protocol === 'UDP') return 'udp';
  return protocol === 'SCTP' ? 'sctp' : 'tcp';
}
