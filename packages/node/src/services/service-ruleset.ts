import { ADDRESS_SETS, chainsOf, type ClientNetworks, type Elements, MASQUERADE, MAPS } from './service-chains.ts';
import type { ServicePort } from './service-ports.ts';

export interface RulesetInputs {
  /** Name of the table of Services, which nobody else writes. */
  readonly table: string;
  readonly ports: readonly ServicePort[];
  /** Networks whose addresses are inside: pods of every node. */
  readonly podNetworks: { readonly v4: string; readonly v6: string };
  /** Absent for the only node of an installation. */
  readonly link?: ClientNetworks['link'];
  /** Chains and sets that the table has from before. */
  readonly existing: TableParts;
}

/** Names of what changes from ruleset to ruleset. */
export interface TableParts {
  readonly chains: ReadonlySet<string>;
  readonly sets: ReadonlySet<string>;
}

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
  const networks = { pods: inputs.podNetworks, link: inputs.link };
  const made = ports.map((port) => chainsOf(port, networks));
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
