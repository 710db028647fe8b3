import { createHash } from 'node:crypto';
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
  readonly createdAt: string;
  /** What `up` was told about the server; absent: nothing. */
  readonly server?: ServerOptions;
}

export interface NodeInstance {
  readonly name: string;
  /** Six hex characters: prefix of every host object of this node. */
  readonly hostPrefix: string;
  readonly podCidrV4: string;
  readonly podCidrV6: string;
  /** First uid for sandboxes and data movers of this node. */
  readonly uidBase: number;
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

/** Numeric users without an account; far above what distributions and container runtimes hand out. */
const UID_FLOOR = 1_000_000_000;
const UIDS_PER_NODE = 8192;
const MAX_NODES = 15;

/** Decides names, users and networks of a new installation; the same data directory gives the same names again. */
export function planInstance(request: InstanceRequest): InstanceConfig {
  if (request.nodeCount < 1 || request.nodeCount > MAX_NODES)
    throw new Error(`--nodes must be between 1 and ${MAX_NODES}, not ${request.nodeCount}`);
  const id = shortHash(request.dataDir);
  const uidBase = UID_FLOOR + (Number.parseInt(id, 16) % 0x2000) * UIDS_PER_NODE * (MAX_NODES + 1);
  const networks = freePodNetworks(id, request.nodeCount, request.routedNetworks);
  return {
    formatVersion: 1,
    id,
    listenHost: request.listenHost,
    listenPort: request.listenPort,
    serverUid: uidBase,
    createdAt: request.createdAt,
    nodes: networks.map((network, index) => ({
      name: request.nodeCount === 1 ? request.hostname : `${request.hostname}-${index + 1}`,
      hostPrefix: shortHash(`${request.dataDir}#${index}`),
      podCidrV4: `10.244.${network}.0/24`,
      podCidrV6: `fd10:244:${network.toString(16)}::/64`,
      uidBase: uidBase + UIDS_PER_NODE * (index + 1),
    })),
  };
}

const shortHash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 6);

function freePodNetworks(id: string, count: number, routed: readonly string[]): number[] {
  const taken = routed.map(parseCidr);
  const first = Number.parseInt(id.slice(0, 2), 16);
  const free = Array.from({ length: 256 }, (_, offset) => (first + offset) % 256).filter(
    (third) => !taken.some((network) => overlaps(network, parseCidr(`10.244.${third}.0/24`))),
  );
  if (free.length < count)
    throw new Error('No free /24 is left in 10.244.0.0/16 for pods; remove routes of that network or another installation');
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
