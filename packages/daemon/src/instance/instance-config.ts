import { createHash } from 'node:crypto';
import type { InstanceLink } from '@slipway/node';
import { UserError } from '../report-failure.ts';
import type { AgentOptions } from './agent-options.ts';
import type { ServerOptions } from './server-options.ts';

/** One installation: everything that `up` decided once and every later command reads from `<data-dir>/instance.json`. */
export interface InstanceConfig {
  readonly formatVersion: 1;
  /** Six hex characters derived from the data directory: keeps installations on one machine apart. */
  readonly id: string;
  readonly listenHost: string;
  readonly listenPort: number;
  /** Unprivileged uid (and gid) of the server process. */
  readonly serverUid: number;
  readonly nodes: readonly NodeInstance[];
  /** Nodes that `up --nodes` takes away, until nothing is left of them. */
  readonly leaving?: readonly NodeInstance[];
  /** What joins the nodes; absent as long as there has been one alone. */
  readonly link?: InstanceLink;
  /** Addresses of Services; absent in installations from before Services were served. */
  readonly services?: ServiceNetworks;
  readonly createdAt: string;
  /** What `up` was told about the server; absent: nothing. */
  readonly server?: ServerOptions;
  /** What `up` was told about the node agents; absent: nothing. */
  readonly agents?: AgentOptions;
}

/** Networks that exist in packet filters alone: no link has an address of them. */
export interface ServiceNetworks {
  /** Cluster addresses, for example `10.0.0.0/16`. */
  readonly clusterV4: string;
  /** Addresses of load balancers, a /24. */
  readonly loadBalancersV4: string;
}

export interface NodeInstance {
  readonly name: string;
  /** Six hex characters: prefix of every host object of this node. */
  readonly hostPrefix: string;
  readonly podCidrV4: string;
  readonly podCidrV6: string;
  /** First uid for sandboxes and data movers of this node. */
  readonly uidBase: number;
  /**
   * Its place on the link, from 1: the node has a network namespace of its own. Absent: it shares that of this machine, as
   * the only node of an installation does.
   */
  readonly linkIndex?: number;
}

export interface InstanceRequest {
  /** Absolute, links resolved. */
  readonly dataDir: string;
  readonly listenHost: string;
  readonly listenPort: number;
  readonly nodeCount: number;
  readonly hostname: string;
  /** IPv4 networks that the host already routes, as CIDR strings. */
  readonly routedNetworks: readonly string[];
  readonly createdAt: string;
}

/** Those that leave, too. */
export const allNodes = ({ nodes, leaving = [] }: Pick<InstanceConfig, 'nodes' | 'leaving'>): readonly NodeInstance[] => [
  ...nodes,
  ...leaving,
];

/** Numeric users without an account; far above what distributions and container runtimes hand out. */
const UID_FLOOR = 1_000_000_000;
const UIDS_PER_NODE = 8192;
const MAX_NODES = 15;

/** Decides names, users and networks of a new installation; the same data directory gives the same names again. */
export function planInstance(request: InstanceRequest): InstanceConfig {
  const id = shortHash(request.dataDir);
  const uidBase = UID_FLOOR + (Number.parseInt(id, 16) % 0x2000) * UIDS_PER_NODE * (MAX_NODES + 1);
  const empty: InstanceConfig = {
    formatVersion: 1,
    id,
    listenHost: request.listenHost,
    listenPort: request.listenPort,
    serverUid: uidBase,
    services: planServices(id, request.routedNetworks),
    createdAt: request.createdAt,
    nodes: [],
  };
  return resizeInstance(empty, request);
}

/** What `up --nodes` makes of an installation: nodes join and leave at the end of the list; one that leaves may stay after all. */
export function resizeInstance(
  config: InstanceConfig,
  request: Pick<InstanceRequest, 'dataDir' | 'hostname' | 'nodeCount' | 'routedNetworks'>,
): InstanceConfig {
  const { nodeCount, dataDir, hostname } = request;
  if (nodeCount < 1 || nodeCount > MAX_NODES) throw new UserError(`--nodes must be between 1 and ${MAX_NODES}, not ${nodeCount}`);
  const known = [...config.nodes, ...(config.leaving ?? [])];
  const kept = known.slice(0, nodeCount);
  const added = nodeCount - kept.length;
  const networks = freeNetworks(POD_NETWORKS, config.id, added, [
    ...request.routedNetworks,
    ...known.map(({ podCidrV4 }) => podCidrV4),
  ]);
  const baseName = config.nodes[0]?.name.replace(config.nodes[0].linkIndex === undefined ? '' : /-1$/, '') ?? hostname;
  const isAlone = nodeCount === 1 && config.nodes.length === 0;
  const joining = networks.map((network, offset): NodeInstance => {
    const number = kept.length + offset + 1;
    return {
      name: isAlone ? baseName : `${baseName}-${number}`,
      hostPrefix: shortHash(`${dataDir}#${number - 1}`),
      podCidrV4: `${POD_NETWORKS}.${network}.0/24`,
      podCidrV6: `fd10:244:${network.toString(16)}::/64`,
      uidBase: config.serverUid + UIDS_PER_NODE * number,
      ...(!isAlone && { linkIndex: number }),
    };
  });
  const leaving = known.slice(nodeCount);
  const link = config.link ?? (nodeCount > 1 ? linkOf(config.id, request.routedNetworks) : undefined);
  const { leaving: _, ...rest } = config;
  return {
    ...rest,
    nodes: [...kept, ...joining],
    ...(leaving.length > 0 && { leaving }),
    ...(link && { link }),
  };
}

const POD_NETWORKS = '10.244';
const LINK_NETWORKS = '10.245';

function linkOf(id: string, routed: readonly string[]): InstanceLink {
  const [network = 0] = freeNetworks(LINK_NETWORKS, id, 1, routed);
  const v6 = `fd10:245:${network.toString(16)}::`;
  return {
    networkV4: `${LINK_NETWORKS}.${network}.0/24`,
    networkV6: `${v6}/64`,
    hostV4: `${LINK_NETWORKS}.${network}.1`,
    hostV6: `${v6}1`,
  };
}

const LOAD_BALANCER_NETWORKS = '10.246';
/** The first is what a Kubernetes API server has when nobody says otherwise. */
const CLUSTER_NETWORKS = ['10.0', ...Array.from({ length: 16 }, (_, index) => `10.${96 + index}`), '172.30'];

function planServices(id: string, routed: readonly string[]): ServiceNetworks {
  const taken = routed.map(parseCidr);
  const isFree = (range: string): boolean => !taken.some((network) => overlaps(network, parseCidr(`${range}.0.0/16`)));
  const range = CLUSTER_NETWORKS.find(isFree);
  if (range === undefined)
    throw new Error(
      'No free /16 is left for Services in 10.0.0.0/16, 10.96.0.0/12 and 172.30.0.0/16; remove routes of one of them',
    );
  const [network = 0] = freeNetworks(LOAD_BALANCER_NETWORKS, id, 1, routed);
  return { clusterV4: `${range}.0.0/16`, loadBalancersV4: `${LOAD_BALANCER_NETWORKS}.${network}.0/24` };
}

/** Of each installation its own, so that their IPv6 networks differ as the IPv4 ones do. */
const serviceNetworkV6 = ({ loadBalancersV4 }: ServiceNetworks): string =>
  `fd10:246:${Number(loadBalancersV4.split('.')[2]).toString(16)}`;

/** Networks of cluster addresses, the one of Services that do not say first. */
export const clusterNetworks = (services: ServiceNetworks): readonly string[] => [
  services.clusterV4,
  `${serviceNetworkV6(services)}::/112`,
];

/** The API server's own cluster address: the first one, as everywhere. */
export const apiClusterIP = ({ clusterV4 }: ServiceNetworks): string => clusterV4.replace(/0\/\d+$/, '1');

/** Networks of load balancers. */
export const loadBalancerNetworks = (services: ServiceNetworks): readonly string[] => [
  services.loadBalancersV4,
  `${serviceNetworkV6(services)}:1::/112`,
];

/** All networks of Services. */
export const serviceNetworks = (services: ServiceNetworks): readonly string[] => [
  ...clusterNetworks(services),
  ...loadBalancerNetworks(services),
];

/** The addresses of load balancers, one by one; of each family those with the same number at the end. */
export const loadBalancerAddresses = (services: ServiceNetworks): readonly string[] => [
  ...Array.from({ length: 254 }, (_, index) => services.loadBalancersV4.replace(/\d+\/24$/, String(index + 1))),
  ...Array.from({ length: 254 }, (_, index) => `${serviceNetworkV6(services)}:1::${(index + 1).toString(16)}`),
];

const shortHash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 6);

function freeNetworks(range: string, id: string, count: number, routed: readonly string[]): number[] {
  const taken = routed.map(parseCidr);
  const first = Number.parseInt(id.slice(0, 2), 16);
  const free = Array.from({ length: 256 }, (_, offset) => (first + offset) % 256).filter(
    (third) => !taken.some((network) => overlaps(network, parseCidr(`${range}.${third}.0/24`))),
  );
  if (free.length < count)
    throw new Error(`No free /24 is left in ${range}.0.0/16; remove routes of that network or another installation`);
  return free.slice(0, count);
}

interface Cidr {
  readonly base: number;
  readonly bits: number;
}

function parseCidr(text: string): Cidr {
  const [address = '', bits = '32'] = text.split('/');
  const base = address.split('.').reduce((value, part) => value * 256 + Number(part), 0);
  return { base, bits: Number(bits) };
}

function overlaps(a: Cidr, b: Cidr): boolean {
  const size = 2 ** (32 - Math.min(a.bits, b.bits));
  // The default route covers everything and takes nothing.
  return Math.min(a.bits, b.bits) > 0 && Math.floor(a.base / size) === Math.floor(b.base / size);
}
