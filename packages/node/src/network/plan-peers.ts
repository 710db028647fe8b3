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
  /** How often each of these has moved, as JSON: of two nodes that both name an address, the later one has it. */
  turns: 'slipway.dev/visiting-turns',
} as const;

/** What another node says of itself. */
export interface Peer {
  readonly name: string;
  readonly podCidrs: readonly string[];
  readonly link: readonly string[];
  readonly leases: Readonly<Record<string, number>>;
  readonly visitors: readonly string[];
  /** By address; absent: 0. */
  readonly turns: Readonly<Record<string, number>>;
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
    leases: numbersOf(annotations[PeerAnnotation.leases], 2),
    visitors: listOf(annotations[PeerAnnotation.visitors]),
    turns: numbersOf(annotations[PeerAnnotation.turns], 1),
    isReady: status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True',
  };
}

function numbersOf(text: string | undefined, least: number): Record<string, number> {
  try {
    const parsed: unknown = JSON.parse(text ?? '{}');
    if (typeof parsed !== 'object' || parsed === null) return {};
    return Object.fromEntries(Object.entries(parsed).filter(([, offset]) => Number.isInteger(offset) && offset >= least));
  } catch {
    return {};
  }
}

/** An address that is at a node. */
export interface Presence {
  readonly address: string;
  /** How often it has moved as far as the node knows. */
  readonly turn: number;
}

/** What an agent says of its own node. */
export function annotationsOf(
  link: NodeLink,
  leases: Readonly<Record<string, number>>,
  visitors: readonly Presence[],
): Record<string, string> {
  const sorted = (entries: (readonly [string, number])[]): string =>
    JSON.stringify(Object.fromEntries(entries.sort(([a], [b]) => a.localeCompare(b))));
  const moved = visitors.filter(({ turn }) => turn > 0);
  return {
    [PeerAnnotation.link]: `${link.addressV4},${link.addressV6}`,
    [PeerAnnotation.leases]: sorted(Object.entries(leases)),
    [PeerAnnotation.visitors]: visitors
      .map(({ address }) => address)
      .sort((a, b) => a.localeCompare(b))
      .join(','),
    [PeerAnnotation.turns]: sorted(moved.map(({ address, turn }) => [address, turn])),
  };
}

/**
 * Of the addresses that are here, those that a node has to name: strange ones, and its own as long as another node names
 * them, which may be lost and never take it back. Pure.
 */
export function visitorsOf(own: string, podNetworks: readonly string[], here: readonly Presence[], peers: readonly Peer[]) {
  const networks = podNetworks.map(parseCidr);
  const isOwn = (address: string): boolean => networks.some((network) => network.contains(address));
  return here.filter(({ address }) => !isOwn(address) || isNamedElsewhere(own, address, peers));
}

/** Whether another node says that the address is there. Pure. */
export const isNamedElsewhere = (own: string, address: string, peers: readonly Peer[]): boolean =>
  peers.some(({ name, visitors }) => name !== own && visitors.includes(address));

/** The turn of an address that comes to a node now. Pure. */
export function nextTurn(address: string, peers: readonly Peer[]): number {
  const named = peers.filter(({ visitors }) => visitors.includes(address));
  return Math.max(0, ...named.map(({ turns }) => (turns[address] ?? 0) + 1));
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
  const claims = peers
    .filter(({ name }) => name !== own)
    .flatMap(({ podCidrs, visitors, turns, link, isReady }) => {
      const wanted = [...podCidrs.filter(isNetwork), ...visitors.filter(isAddress)];
      return wanted.flatMap((destination) => {
        const via = ofFamily(link, familyOf(destination));
        return via === undefined || !isAddress(via) ? [] : [{ destination, via, isReady, turn: turns[destination] ?? 0 }];
      });
    })
    // the last word has a node that is heard: one that is lost does not know that its guests have gone on elsewhere
    .sort((a, b) => Number(a.isReady) - Number(b.isReady) || a.turn - b.turn);
  return [...new Map(claims.map(({ destination, via }) => [destination, { destination, via }])).values()];
}

/** Where a guest that was given away is sent on to. */
export interface SentOn {
  readonly via: string;
  /** That of the address while it was here. */
  readonly turn: number;
}

/** Whether the other nodes say by themselves where the address is, so that nothing has to be sent on any more. Pure. */
export function isHeardOf(address: string, { via, turn }: SentOn, own: string, peers: readonly Peer[]): boolean {
  const others = peers.filter(({ name }) => name !== own);
  if (others.some(({ visitors, turns }) => visitors.includes(address) && (turns[address] ?? 0) > turn)) return true;
  const target = others.find(({ link }) => link.includes(via));
  if (target?.visitors.includes(address)) return true;
  // gone home, where nobody needs to name it
  return target?.podCidrs.some((network) => isNetwork(network) && parseCidr(network).contains(address)) ?? false;
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
  return leasedAddress(owner, home);
}

/** The address that a VM has on the node where it runs: the node's own, or one that it has brought along. Pure. */
export function addressAtNode(owner: string, nodeName: string, peers: readonly Peer[]): PodAddresses | undefined {
  const node = peers.find(({ name }) => name === nodeName);
  if (node === undefined) return undefined;
  const given = peers.filter(({ name }) => name !== nodeName).map((home) => leasedAddress(owner, home));
  return given.find((addresses) => addresses !== undefined && node.visitors.includes(addresses.v4)) ?? leasedAddress(owner, node);
}

function leasedAddress(owner: string, { podCidrs, leases }: Peer): PodAddresses | undefined {
  const v4 = ofFamily(podCidrs, 4);
  const v6 = ofFamily(podCidrs, 6);
  const offset = leases[owner];
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
