import type { Node } from '@slipway/api';
import type { NodeLink } from '../contracts.ts';
import type { PodAddresses } from './address-pool.ts';
import { parseCidr } from './cidr.ts';

/** Annotations by which the agents of nodes tell each other of addresses; each agent writes those of its own node. */
export const PeerAnnotation = {
  /** Addresses at which other agents reach this one, and other nodes its pods: IPv4, IPv6. */
  link: 'slipway.dev/link-addresses',
  /** Places in the node's pod networks that belong to VMs, as JSON: UID to offset. */
  leases: 'slipway.dev/address-leases',
  /** Addresses of other nodes' pod networks whose VMs run here. */
  visitors: 'slipway.dev/visiting-addresses',
} as const;

/** What another node says of itself. */
export interface Peer {
  readonly name: string;
  readonly podCidrs: readonly string[];
  readonly link: readonly string[];
  readonly leases: Readonly<Record<string, number>>;
  readonly visitors: readonly string[];
  /** False when nothing has been heard of the node. */
  readonly isReady: boolean;
}

const listOf = (text: string | undefined): string[] => (text === undefined || text === '' ? [] : text.split(','));

/** Reads a node object; what is not understood counts as absent. */
export function peerOf({ metadata, spec, status }: Node): Peer {
  const annotations = metadata.annotations ?? {};
  return {
    name: metadata.name ?? '',
    podCidrs: spec?.podCIDRs ?? [],
    link: listOf(annotations[PeerAnnotation.link]),
    leases: leasesOf(annotations[PeerAnnotation.leases]),
    visitors: listOf(annotations[PeerAnnotation.visitors]),
    isReady: status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True',
  };
}

function leasesOf(text: string | undefined): Record<string, number> {
  try {
    const parsed: unknown = JSON.parse(text ?? '{}');
    if (typeof parsed !== 'object' || parsed === null) return {};
    return Object.fromEntries(Object.entries(parsed).filter(([, offset]) => Number.isInteger(offset) && offset > 1));
  } catch {
    return {};
  }
}

/** What an agent says of its own node. */
export function annotationsOf(
  link: NodeLink,
  leases: Readonly<Record<string, number>>,
  visitors: readonly string[],
): Record<string, string> {
  const sorted = Object.fromEntries(Object.entries(leases).sort(([a], [b]) => a.localeCompare(b)));
  return {
    [PeerAnnotation.link]: `${link.addressV4},${link.addressV6}`,
    [PeerAnnotation.leases]: JSON.stringify(sorted),
    [PeerAnnotation.visitors]: [...visitors].sort((a, b) => a.localeCompare(b)).join(','),
  };
}

/** A route towards a pod of another node. */
export interface PeerRoute {
  readonly destination: string;
  readonly via: string;
}

const familyOf = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4);
const ofFamily = (addresses: readonly string[], family: 4 | 6) => addresses.find((address) => familyOf(address) === family);
/** As `ip route` prints it: without the length of a single address. */
const isNetwork = (text: string): boolean => /^[0-9a-f.:]+\/\d+$/.test(text);
const isAddress = (text: string): boolean => /^[0-9a-f.:]+$/.test(text);

/**
 * Routes that this node needs: the pod networks of the others, and each address that follows its VM. A single address goes
 * before the network it is taken from, in the node it comes from too. Pure.
 */
export function peerRoutes(own: string, peers: readonly Peer[]): PeerRoute[] {
  const routes = peers
    .filter(({ name }) => name !== own)
    .sort((a, b) => Number(a.isReady) - Number(b.isReady))
    .flatMap(({ podCidrs, visitors, link }) => {
      const wanted = [...podCidrs.filter(isNetwork), ...visitors.filter(isAddress)];
      return wanted.flatMap((destination) => {
        const via = ofFamily(link, familyOf(destination));
        return via === undefined || !isAddress(via) ? [] : [{ destination, via }];
      });
    });
  // the last word has a node that is heard: one that is lost does not know that its guests have gone on elsewhere
  return [...new Map(routes.map((route) => [route.destination, route])).values()];
}

/**
 * The address that a VM brings along: one that another node has given it. Two nodes may have done so while they did not hear
 * of each other: then the first by name has. Undefined when it is this node's to give. Pure.
 */
export function broughtAddress(
  owner: string,
  own: { readonly name: string; readonly hasLease: boolean },
  peers: readonly Peer[],
): PodAddresses | undefined {
  const homes = peers.filter(({ name, leases }) => name !== own.name && leases[owner] !== undefined);
  const [home] = homes.sort((a, b) => a.name.localeCompare(b.name));
  if (home === undefined || (own.hasLease && own.name < home.name)) return undefined;
  const v4 = ofFamily(home.podCidrs, 4);
  const v6 = ofFamily(home.podCidrs, 6);
  const offset = home.leases[owner];
  if (v4 === undefined || v6 === undefined || offset === undefined) return undefined;
  return { v4: parseCidr(v4).addressAt(offset), v6: parseCidr(v6).addressAt(offset) };
}

/** What changes in the kernel, as lines for `ip -batch`; routes of this protocol are this agent's. */
export function routeLines(wanted: readonly PeerRoute[], present: readonly PeerRoute[], device: string): string[] {
  const keyOf = ({ destination, via }: PeerRoute): string => `${destination} via ${via}`;
  const isWanted = new Set(wanted.map(({ destination }) => destination));
  const isThere = new Set(present.map(keyOf));
  return [
    ...present
      .filter(({ destination }) => !isWanted.has(destination))
      .map((route) => `route del ${keyOf(route)} dev ${device} proto ${PROTOCOL} metric ${METRIC}`),
    ...wanted
      .filter((route) => !isThere.has(keyOf(route)))
      .map((route) => `route replace ${keyOf(route)} dev ${device} proto ${PROTOCOL} metric ${METRIC}`),
  ];
}

/** Marks routes that agents make; a number that routing daemons do not use. */
export const PROTOCOL = 117;
/** A pod that is here goes before what other nodes say of its address. */
const METRIC = 4096;
