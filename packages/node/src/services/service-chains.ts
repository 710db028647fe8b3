import { isOf, nameHash } from '../packet-filter/index.ts';
import type { ServicePort, Target } from './service-ports.ts';

/** Mark of packets that leave with this node's own address, so that the answer comes back here. */
export const MASQUERADE = '0x4000';

const V4 = 'ipv4_addr . inet_proto . inet_service';
const V6 = 'ipv6_addr . inet_proto . inet_service';
const PORT = 'inet_proto . inet_service';
/** Maps of the table, from what a packet says to the chain that decides. */
export const MAPS = [
  ['services4', V4],
  ['services6', V6],
  ['nodeports4', PORT],
  ['nodeports6', PORT],
  ['refused4', V4],
  ['refused6', V6],
  ['refused_nodeports4', PORT],
  ['refused_nodeports6', PORT],
  ['guarded4', V4],
  ['guarded6', V6],
] as const;
export const ADDRESS_SETS = [
  ['cluster_addresses4', 'ipv4_addr'],
  ['cluster_addresses6', 'ipv6_addr'],
] as const;

type ElementList = (typeof MAPS)[number][0] | (typeof ADDRESS_SETS)[number][0];
export type Elements = Readonly<Record<ElementList, readonly string[]>>;

export interface PortChains {
  readonly chains: ReadonlyMap<string, readonly string[]>;
  readonly sets: ReadonlyMap<string, { readonly type: string; readonly seconds: number }>;
  readonly elements: Elements;
}

/** Where clients are, as far as it matters. */
export interface ClientNetworks {
  /** Pods of every node. */
  readonly pods: { readonly v4: string; readonly v6: string };
  /** What joins this node to others; on its networks is the machine whose namespaces they are. */
  readonly link?: { readonly device: string; readonly networks: readonly string[] } | undefined;
}

/** Everything in the table that one port of a Service needs. */
export function chainsOf(port: ServicePort, networks: ClientNetworks): PortChains {
  const { family, targets, externalIPs, nodePort, sourceRanges } = port;
  const key = nameHash(`${port.id} ${port.protocol} ${family}`);
  const saddr = family === 4 ? 'ip saddr' : 'ip6 saddr';
  const inside = family === 4 ? networks.pods.v4 : networks.pods.v6;
  const chains = new Map<string, readonly string[]>();
  for (const target of uniqueTargets(port)) chains.set(endpointOf(key, target), endpointRules(port, key, target));
  // from outside of the cluster the answer has to come back through this node
  const elsewhere = `${saddr} != ${inside} fib saddr type != local jump mark_masquerade`;
  if (targets.length > 0) chains.set(`svc_${key}`, [elsewhere, ...spread(port, key, targets)]);
  if (nodePort !== undefined || externalIPs.length > 0)
    chains.set(`ext_${key}`, externalRules(port, key, { saddr, inside, link: networks.link }));
  if (sourceRanges) chains.set(`fw_${key}`, [`${saddr} { ${sourceRanges.join(', ')} } return`, 'drop']);
  return { chains, sets: affinitySets(port, key), elements: elementsOf(port, key) };
}

function affinitySets(port: ServicePort, key: string): PortChains['sets'] {
  const { affinitySeconds, family } = port;
  if (affinitySeconds === undefined) return new Map();
  const type = family === 4 ? 'ipv4_addr' : 'ipv6_addr';
  return new Map(uniqueTargets(port).map((target) => [setOf(key, target), { type, seconds: affinitySeconds }]));
}

/** What the maps of the table say of this port. */
function elementsOf(port: ServicePort, key: string): Elements {
  const { family, targets, externalTargets, clusterIPs, externalIPs, nodePort } = port;
  const at = (address: string): string => `${address} . ${port.protocol} . ${port.port}`;
  const listened = nodePort === undefined ? [] : [`${port.protocol} . ${nodePort}`];
  const isServed = targets.length > 0;
  const isServedOutside = externalTargets.length > 0;
  // a node without endpoints leaves clients to the nodes that have some, as kube-proxy does
  const unserved = port.hasEndpoints ? 'ignore' : 'refuse';
  const external = (list: readonly string[]): string[] =>
    isServed || isServedOutside ? list.map((entry) => `${entry} : goto ext_${key}`) : [];
  const refused = (list: readonly string[]): string[] =>
    isServedOutside ? [] : list.map((entry) => `${entry} : goto ${unserved}`);
  return {
    ...emptyElements(),
    [`cluster_addresses${family}`]: clusterIPs,
    [`services${family}`]: [
      ...(isServed ? clusterIPs.map((address) => `${at(address)} : goto svc_${key}`) : []),
      ...external(externalIPs.map(at)),
    ],
    [`refused${family}`]: [
      ...(isServed ? [] : clusterIPs.map((address) => `${at(address)} : goto ${unserved}`)),
      ...refused(externalIPs.map(at)),
    ],
    [`nodeports${family}`]: external(listened),
    [`refused_nodeports${family}`]: refused(listened),
    [`guarded${family}`]: port.sourceRanges ? externalIPs.map((address) => `${at(address)} : goto fw_${key}`) : [],
  };
}

/** What arrives at a node port or at an address of a load balancer. */
function externalRules(
  port: ServicePort,
  key: string,
  { saddr, inside, link }: { readonly saddr: string; readonly inside: string; readonly link: ClientNetworks['link'] },
): string[] {
  const toService = port.targets.length > 0 ? [`goto svc_${key}`] : [];
  // a pod of another node may be a neighbour of the endpoint, whose answer would go to it directly
  const ofAnother = link ? [`iifname "${link.device}" jump mark_masquerade`] : [];
  const ofThis = link ? `iifname != "${link.device}" ` : '';
  if (!port.keepsSource) return [`${saddr} != ${inside} jump mark_masquerade`, ...ofAnother, ...toService];
  const near =
    port.targets.length > 0
      ? [
          `${ofThis}${saddr} ${inside} goto svc_${key}`,
          `fib saddr type local jump mark_masquerade`,
          `fib saddr type local goto svc_${key}`,
        ]
      : [];
  return [
    ...near,
    ...(port.externalTargets.length > 0 ? spread(port, key, port.externalTargets) : fromLink(port, key, link?.networks)),
  ];
}

/**
 * The machine sends what is for a load balancer to one node, whichever has endpoints: without one here it is taken for a node,
 * and nodes reach endpoints everywhere.
 */
function fromLink({ family, targets, externalIPs }: ServicePort, key: string, link: readonly string[] = []): string[] {
  const own = link.filter(isOf(family));
  if (own.length === 0 || targets.length === 0 || externalIPs.length === 0) return [];
  const ip = family === 4 ? 'ip' : 'ip6';
  const match = `${ip} saddr { ${own.join(', ')} } ${ip} daddr { ${externalIPs.join(', ')} }`;
  return [`${match} jump mark_masquerade`, `${match} goto svc_${key}`];
}

/** Clients that were here before go where they went, all others anywhere. */
function spread(port: ServicePort, key: string, targets: readonly Target[]): string[] {
  const saddr = port.family === 4 ? 'ip saddr' : 'ip6 saddr';
  const known =
    port.affinitySeconds === undefined
      ? []
      : targets.map((target) => `${saddr} @${setOf(key, target)} goto ${endpointOf(key, target)}`);
  const choices = targets.map((target, index) => `${index} : goto ${endpointOf(key, target)}`);
  return [...known, `numgen random mod ${targets.length} vmap { ${choices.join(', ')} }`];
}

function endpointRules(port: ServicePort, key: string, target: Target): string[] {
  const [ip, to] = port.family === 4 ? ['ip', target.address] : ['ip6', `[${target.address}]`];
  return [
    // a guest that reaches itself: it would not take its own address for that of a peer
    `${ip} saddr ${target.address} jump mark_masquerade`,
    ...(port.affinitySeconds === undefined ? [] : [`update @${setOf(key, target)} { ${ip} saddr }`]),
    `meta l4proto ${port.protocol} dnat ${ip} to ${to}:${target.port}`,
  ];
}

const uniqueTargets = ({ targets, externalTargets }: ServicePort): Target[] => [
  ...new Map([...targets, ...externalTargets].map((target) => [`${target.address} ${target.port}`, target])).values(),
];

const endpointOf = (key: string, { address, port }: Target): string => `ep_${key}_${nameHash(`${address} ${port}`)}`;
const setOf = (key: string, { address, port }: Target): string => `aff_${key}_${nameHash(`${address} ${port}`)}`;

const emptyElements = (): Record<ElementList, string[]> => ({
  ...{ services4: [], services6: [], nodeports4: [], nodeports6: [], refused4: [], refused6: [] },
  ...{
    refused_nodeports4: [],
    refused_nodeports6: [],
    guarded4: [],
    guarded6: [],
    cluster_addresses4: [],
    cluster_addresses6: [],
  },
});
