import { nameHash } from '../packet-filter/index.ts';
import type { LinkRules } from './link-rules.ts';
import { allowanceChain } from './policy-ruleset.ts';

/** Table in the namespace of a pod, which nobody else writes. */
export const LINK_TABLE = { family: 'bridge', name: 'slipway_policies' } as const;

type Direction = 'received' | 'sent';

// Seconds for which the other side may still answer.
const OPENING = '2m';
const OPEN = '130m'; // longer than the two hours after which idle connections are usually asked whether they live
const CLOSING = '1m';
const DATAGRAM = '3m';
const ECHO = '30s';
const OTHER = '10m';
const FRAGMENT = '30s';
const MOST_FLOWS = 65_536;
const WITH_PORTS = '{ tcp, udp, sctp }';
const OTHERS = '!= { tcp, udp, sctp, icmp, ipv6-icmp }';

/**
 * The transaction that makes the table of one pod anew, in the family `bridge`: guests of second networks speak with them on
 * layer 2, by way of a bridge between the pod's link and their tap, so that each frame passes there, whatever made the link.
 *
 * What was let through is remembered in sets, so that answers pass: many kernels track no connections of bridged frames, and
 * the module that makes the others do so would change what the firewall of the host sees. The sets stay when rules change.
 */
export function linkRuleset(links: readonly LinkRules[]): string {
  const table = `${LINK_TABLE.family} ${LINK_TABLE.name}`;
  const jumps = links.map(({ link }) => {
    const id = nameHash(link);
    return `    iifname "${link}" jump received_${id}\n    oifname "${link}" jump sent_${id}\n`;
  });
  return `add table ${table}
flush table ${table}
table ${table} {
${ALWAYS}${links.map(linkChains).join('')}  chain forward {
    type filter hook forward priority -5; policy accept;
${jumps.join('')}  }
}
`;
}

/** Without these a network cannot be used at all. Of DHCP a guest's questions to everybody pass, and what servers say. */
const ALWAYS = chain('always', [
  'meta protocol arp accept',
  'icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept',
  'icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } accept',
  'icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept',
  'icmp type { destination-unreachable, time-exceeded, parameter-problem } accept',
]);
const DHCP: Readonly<Record<Direction, readonly string[]>> = {
  received: ['udp sport 67 udp dport 68 accept', 'udp sport 547 udp dport 546 accept'],
  sent: ['ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept', 'ip6 daddr ff02::1:2 udp sport 546 udp dport 547 accept'],
};

function linkChains({ link, ingress, egress }: LinkRules): string {
  const id = nameHash(link);
  const sets = ([4, 6] as const).flatMap((family) => [
    set(`flows${family}_${id}`, `type ipv${family}_addr . ipv${family}_addr . inet_proto . inet_service . inet_service`),
    set(`pairs${family}_${id}`, `type ipv${family}_addr . ipv${family}_addr . inet_proto`),
  ]);
  return [
    ...sets,
    set(`fragments4_${id}`, 'typeof ip saddr . ip daddr . ip id'),
    set(`fragments6_${id}`, 'typeof ip6 saddr . ip6 daddr . frag id'),
    ingress ? allowanceChain(`in_${id}`, 'saddr', ingress) : '',
    egress ? allowanceChain(`out_${id}`, 'daddr', egress) : '',
    passedChain('received', id),
    passedChain('sent', id),
    judgingChain('received', id, ingress && `in_${id}`),
    judgingChain('sent', id, egress && `out_${id}`),
  ].join('');
}

/** Everything that goes one way. `judge` drops or returns. */
function judgingChain(direction: Direction, id: string, judge: string | undefined): string {
  const passed = `goto ${direction}_passed_${id}`;
  const known = ([4, 6] as const).flatMap((family) => [
    `meta l4proto ${WITH_PORTS} ${flowOf(direction, family)} @flows${family}_${id} ${passed}`,
    `${icmpOf(family)} type echo-reply ${pairOf(direction, family)} @pairs${family}_${id} ${passed}`,
    `meta l4proto ${OTHERS} ${pairOf(direction, family)} @pairs${family}_${id} ${passed}`,
  ]);
  const lines = [
    'jump always',
    ...DHCP[direction],
    `ip frag-off & 0x1fff != 0 ip saddr . ip daddr . ip id @fragments4_${id} accept`,
    `frag frag-off != 0 ip6 saddr . ip6 daddr . frag id @fragments6_${id} accept`,
    ...known,
    ...(judge === undefined ? [] : [`jump ${judge}`]),
    passed,
  ];
  return chain(`${direction}_${id}`, lines);
}

/** Remembers what has passed, for the answers. When a set is full the frame passes all the same. */
function passedChain(direction: Direction, id: string): string {
  const lines = ([4, 6] as const).flatMap((family) => {
    const ip = ipOf(family);
    const protocol = `meta protocol ${ip}`;
    const keep = (time: string, verb = 'update'): string =>
      `${verb} @flows${family}_${id} { ${flowOf(direction, family)} timeout ${time} } accept`;
    const keepPair = (time: string): string =>
      `update @pairs${family}_${id} { ${pairOf(direction, family)} timeout ${time} } accept`;
    return [
      family === 4
        ? `ip frag-off & 0x2000 != 0 update @fragments4_${id} { ip saddr . ip daddr . ip id timeout ${FRAGMENT} }`
        : `frag more-fragments 1 update @fragments6_${id} { ip6 saddr . ip6 daddr . frag id timeout ${FRAGMENT} }`,
      `${protocol} tcp flags & (fin | rst) != 0 ${keep(CLOSING)}`,
      `${protocol} tcp flags & psh != 0 ${keep(OPEN)}`,
      `${protocol} tcp flags & (syn | ack) == syn | ack ${keep(OPEN)}`,
      // leaves the time of one that is known: the last segments of a connection are such
      `${protocol} meta l4proto tcp ${keep(OPENING, 'add')}`,
      `${protocol} meta l4proto { udp, sctp } ${keep(DATAGRAM)}`,
      `${icmpOf(family)} type echo-request ${keepPair(ECHO)}`,
      `${protocol} meta l4proto ${OTHERS} ${keepPair(OTHER)}`,
    ];
  });
  return chain(`${direction}_passed_${id}`, [...lines, 'accept']);
}

const set = (name: string, type: string): string =>
  `  set ${name} {\n    ${type}\n    flags dynamic,timeout\n    size ${MOST_FLOWS}\n  }\n`;

function chain(name: string, lines: readonly string[]): string {
  return `  chain ${name} {\n${lines.map((line) => `    ${line}\n`).join('')}  }\n`;
}

/** The other side first, whoever sends. */
function flowOf(direction: Direction, family: 4 | 6): string {
  const ports = direction === 'received' ? 'th sport . th dport' : 'th dport . th sport';
  return `${sidesOf(direction, family)} . meta l4proto . ${ports}`;
}

const pairOf = (direction: Direction, family: 4 | 6): string => `${sidesOf(direction, family)} . meta l4proto`;

function sidesOf(direction: Direction, family: 4 | 6): string {
  const ip = ipOf(family);
  return direction === 'received' ? `${ip} saddr . ${ip} daddr` : `${ip} daddr . ${ip} saddr`;
}

const ipOf = (family: 4 | 6): string => (family === 4 ? 'ip' : 'ip6');
const icmpOf = (family: 4 | 6): string => (family === 4 ? 'icmp' : 'icmpv6');
