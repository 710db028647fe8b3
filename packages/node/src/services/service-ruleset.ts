import { createHash } from 'node:crypto';
import type { ServicePort, Target } from './service-ports.ts';

export interface RulesetInputs {
  /** Name of the table of Services, which nobody else writes. */
  readonly table: string;
  readonly ports: readonly ServicePort[];
  /** Networks whose addresses are inside: pods of every node. */
  readonly podNetworks: { readonly v4: string; readonly v6: string };
  /** Chains and sets that the table has from before. */
  readonly existing: TableParts;
}

/** Names of what changes from ruleset to ruleset. */
export interface TableParts {
  readonly chains: ReadonlySet<string>;
  readonly sets: ReadonlySet<string>;
}

/** Mark of packets that leave with this node's own address, so that the answer comes back here. */
const MASQUERADE = '0x4000';
const DYNAMIC = /^(svc|ext|fw|ep|aff)_/;

/** Whether a chain or set of the table belongs to one Service. */
export const isOfOneService = (name: string): boolean => DYNAMIC.test(name);

/**
 * One nftables transaction that makes the table say what these ports say. Sets that remember clients are kept, so that
 * clients stay with their endpoints whatever happens to other Services.
 */
export function serviceRuleset(inputs: RulesetInputs): { readonly script: string; readonly parts: TableParts } {
  const { table, ports, existing } = inputs;
  const t = `inet ${table}`;
  const made = ports.map((port) => chainsOf(port, inputs));
  const chains = new Map(made.flatMap((one) => [...one.chains]));
  const sets = new Map(made.flatMap((one) => [...one.sets]));
  const elements = (map: string, list: readonly string[]): string[] =>
    list.length === 0 ? [] : [`add element ${t} ${map} { ${[...new Set(list)].join(', ')} }`];
  const all = (name: keyof Elements): string[] => made.flatMap((one) => one.elements[name]);
  const lines = [
    `add table ${t}`,
    ...MAPS.flatMap(([name, type]) => [`add map ${t} ${name} { type ${type} : verdict; }`, `flush map ${t} ${name}`]),
    ...ADDRESS_SETS.flatMap(([name, type]) => [`add set ${t} ${name} { type ${type}; }`, `flush set ${t} ${name}`]),
    ...[...sets].map(
      ([name, { type, seconds }]) =>
        `add set ${t} ${name} { type ${type}; size 65535; flags dynamic,timeout; timeout ${seconds}s; }`,
    ),
    ...baseChains(inputs),
    ...[...chains.keys()].flatMap((name) => [`add chain ${t} ${name}`, `flush chain ${t} ${name}`]),
    ...[...chains].flatMap(([name, rules]) => rules.map((rule) => `add rule ${t} ${name} ${rule}`)),
    ...MAPS.flatMap(([name]) => elements(name, all(name))),
    ...ADDRESS_SETS.flatMap(([name]) => elements(name, all(name))),
    // rules first, then what they referred to
    ...[...existing.chains].filter((name) => !chains.has(name)).map((name) => `flush chain ${t} ${name}`),
    ...[...existing.chains].filter((name) => !chains.has(name)).map((name) => `delete chain ${t} ${name}`),
    ...[...existing.sets].filter((name) => !sets.has(name)).map((name) => `delete set ${t} ${name}`),
  ];
  return { script: `${lines.join('\n')}\n`, parts: { chains: new Set(chains.keys()), sets: new Set(sets.keys()) } };
}

const V4 = 'ipv4_addr . inet_proto . inet_service';
const V6 = 'ipv6_addr . inet_proto . inet_service';
const PORT = 'inet_proto . inet_service';
const MAPS = [
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
const ADDRESS_SETS = [
  ['cluster_addresses4', 'ipv4_addr'],
  ['cluster_addresses6', 'ipv6_addr'],
] as const;

type ElementList = (typeof MAPS)[number][0] | (typeof ADDRESS_SETS)[number][0];
type Elements = Readonly<Record<ElementList, readonly string[]>>;

function baseChains({ table }: RulesetInputs): string[] {
  const t = `inet ${table}`;
  const lookUp = (maps: string): string[] => [
    `ip daddr . meta l4proto . th dport vmap @${maps}4`,
    `ip6 daddr . meta l4proto . th dport vmap @${maps}6`,
  ];
  const nodePorts = (maps: string): string[] => [
    `meta nfproto ipv4 fib daddr type local meta l4proto . th dport vmap @${maps}4`,
    `meta nfproto ipv6 ip6 daddr != ::1 fib daddr type local meta l4proto . th dport vmap @${maps}6`,
  ];
  const refusals = ['ct state new jump refuse_unserved'];
  const chains: readonly (readonly [string, string, readonly string[]])[] = [
    ['mark_masquerade', '', [`meta mark set meta mark or ${MASQUERADE}`]],
    ['refuse', '', ['meta l4proto tcp reject with tcp reset', 'reject']],
    ['ignore', '', ['drop']],
    ['translate', '', [...lookUp('services'), ...nodePorts('nodeports')]],
    [
      'refuse_unserved',
      '',
      [
        ...lookUp('refused'),
        ...nodePorts('refused_nodeports'),
        'ip daddr @cluster_addresses4 reject',
        'ip6 daddr @cluster_addresses6 reject',
      ],
    ],
    ['guard', 'type filter hook prerouting priority -110', lookUp('guarded')],
    ['prerouting', 'type nat hook prerouting priority -100', ['jump translate']],
    ['output', 'type nat hook output priority -100', ['jump translate']],
    ['forward', 'type filter hook forward priority -10', refusals],
    ['input', 'type filter hook input priority -10', refusals],
    ['local', 'type filter hook output priority -10', refusals],
    [
      'postrouting',
      'type nat hook postrouting priority 90',
      [`meta mark and ${MASQUERADE} == ${MASQUERADE} meta mark set meta mark xor ${MASQUERADE} masquerade`],
    ],
  ];
  return [
    ...chains.flatMap(([name, hook]) => [
      `add chain ${t} ${name}${hook === '' ? '' : ` { ${hook}; policy accept; }`}`,
      `flush chain ${t} ${name}`,
    ]),
    ...chains.flatMap(([name, , rules]) => rules.map((rule) => `add rule ${t} ${name} ${rule}`)),
  ];
}

interface PortChains {
  readonly chains: ReadonlyMap<string, readonly string[]>;
  readonly sets: ReadonlyMap<string, { readonly type: string; readonly seconds: number }>;
  readonly elements: Elements;
}

function chainsOf(port: ServicePort, { podNetworks }: RulesetInputs): PortChains {
  const { family, targets, externalTargets, keepsSource, externalIPs, nodePort, sourceRanges } = port;
  const key = hash(`${port.id} ${port.protocol} ${family}`);
  const saddr = family === 4 ? 'ip saddr' : 'ip6 saddr';
  const inside = family === 4 ? podNetworks.v4 : podNetworks.v6;
  const own = new Map(
    port.affinitySeconds === undefined ? [] : uniqueTargets(port).map((target) => [setOf(key, target), target]),
  );
  const chains = new Map<string, readonly string[]>();
  for (const target of uniqueTargets(port)) chains.set(endpointOf(key, target), endpointRules(port, key, target));
  // from outside of the cluster the answer has to come back through this node
  const elsewhere = `${saddr} != ${inside} fib saddr type != local jump mark_masquerade`;
  if (targets.length > 0) chains.set(`svc_${key}`, [elsewhere, ...spread(port, key, targets)]);
  const isOpen = nodePort !== undefined || externalIPs.length > 0;
  if (isOpen) chains.set(`ext_${key}`, externalRules(port, key, { saddr, inside }));
  if (sourceRanges) chains.set(`fw_${key}`, [`${saddr} { ${sourceRanges.join(', ')} } return`, 'drop']);
  const hasExternal = targets.length > 0 || externalTargets.length > 0;
  const unserved = keepsSource && targets.length > 0 ? 'ignore' : 'refuse';
  const at = (address: string): string => `${address} . ${port.protocol} . ${port.port}`;
  const elements: Record<ElementList, string[]> = emptyElements();
  for (const address of port.clusterIPs) {
    elements[`cluster_addresses${family}`].push(address);
    if (targets.length > 0) elements[`services${family}`].push(`${at(address)} : goto svc_${key}`);
    else elements[`refused${family}`].push(`${at(address)} : goto refuse`);
  }
  for (const address of externalIPs) {
    if (hasExternal) elements[`services${family}`].push(`${at(address)} : goto ext_${key}`);
    if (externalTargets.length === 0) elements[`refused${family}`].push(`${at(address)} : goto ${unserved}`);
    if (sourceRanges) elements[`guarded${family}`].push(`${at(address)} : goto fw_${key}`);
  }
  if (nodePort !== undefined) {
    const listened = `${port.protocol} . ${nodePort}`;
    if (hasExternal) elements[`nodeports${family}`].push(`${listened} : goto ext_${key}`);
    if (externalTargets.length === 0) elements[`refused_nodeports${family}`].push(`${listened} : goto ${unserved}`);
  }
  const type = family === 4 ? 'ipv4_addr' : 'ipv6_addr';
  const sets = new Map([...own.keys()].map((name) => [name, { type, seconds: port.affinitySeconds ?? 0 }]));
  return { chains, sets, elements };
}

/** What arrives at a node port or at an address of a load balancer. */
function externalRules(
  port: ServicePort,
  key: string,
  { saddr, inside }: { readonly saddr: string; readonly inside: string },
): string[] {
  const toService = port.targets.length > 0 ? [`goto svc_${key}`] : [];
  if (!port.keepsSource) return [`${saddr} != ${inside} jump mark_masquerade`, ...toService];
  const near =
    port.targets.length > 0
      ? [
          `${saddr} ${inside} goto svc_${key}`,
          `fib saddr type local jump mark_masquerade`,
          `fib saddr type local goto svc_${key}`,
        ]
      : [];
  return [...near, ...(port.externalTargets.length > 0 ? spread(port, key, port.externalTargets) : [])];
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

const endpointOf = (key: string, { address, port }: Target): string => `ep_${key}_${hash(`${address} ${port}`)}`;
const setOf = (key: string, { address, port }: Target): string => `aff_${key}_${hash(`${address} ${port}`)}`;
const hash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 12);

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
