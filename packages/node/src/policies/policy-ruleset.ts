import { ARRIVED_MARK } from '../network/index.ts';
import { isOf, nameHash } from '../packet-filter/index.ts';
import type { Allowance, PodRules, PortRange } from './pod-rules.ts';

export interface PolicyRulesetInputs {
  /** Name of the table of policies, which nobody else writes. */
  readonly table: string;
  readonly pods: readonly PodRules[];
}

/**
 * One nftables transaction that replaces the table of policies. What a pod sends is looked at where it enters this host,
 * what it receives where it leaves; answers of connections that were allowed always pass, and so do those that a guest brings
 * along from another node. The host itself reaches its pods,
 * as a kubelet must, and pods always find it as their neighbour.
 */
export function policyRuleset({ table, pods }: PolicyRulesetInputs): string {
  const chains = pods.flatMap((pod) => [
    ...(pod.ingress ? [allowanceChain(`in_${nameHash(pod.uid)}`, 'saddr', [itself(pod), ...pod.ingress])] : []),
    ...(pod.egress ? [allowanceChain(`out_${nameHash(pod.uid)}`, 'daddr', [itself(pod), ...pod.egress])] : []),
  ]);
  return `table inet ${table}
delete table inet ${table}
table inet ${table} {
${chains.join('')}${verdicts('ingress', pods, 'in')}${verdicts('egress', pods, 'out')}  chain sent {
    ct state established,related return
    meta mark & ${ARRIVED_MARK} != 0 return
    ip saddr vmap @egress4
    ip6 saddr vmap @egress6
  }
  chain received {
    ct state established,related return
    meta mark & ${ARRIVED_MARK} != 0 return
    ip daddr vmap @ingress4
    ip6 daddr vmap @ingress6
  }
  chain forward {
    type filter hook forward priority -5; policy accept;
    jump sent
    jump received
  }
  chain input {
    type filter hook input priority -5; policy accept;
    icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept
    jump sent
  }
}
`;
}

function verdicts(direction: 'ingress' | 'egress', pods: readonly PodRules[], prefix: string): string {
  return ([4, 6] as const)
    .map((family) => {
      const entries = pods.flatMap((pod) =>
        pod[direction] === undefined
          ? []
          : pod.addresses.filter(isOf(family)).map((address) => `${address} : jump ${prefix}_${nameHash(pod.uid)}`),
      );
      const elements = entries.length === 0 ? '' : ` elements = { ${[...new Set(entries)].join(', ')} };`;
      return `  map ${direction}${family} { type ipv${family}_addr : verdict;${elements} }\n`;
    })
    .join('');
}

/** A chain that returns for what is allowed and drops the rest. */
export function allowanceChain(name: string, side: 'saddr' | 'daddr', allowances: readonly Allowance[]): string {
  const rules = allowances.flatMap((allowance) => {
    const ports = allowance.ports ? portMatches(allowance.ports) : [''];
    return peerMatches(side, allowance.peers).flatMap((peer) => ports.map((port) => `    ${peer}${port}return\n`));
  });
  return `  chain ${name} {\n${[...new Set(rules)].join('')}    drop\n  }\n`;
}

function peerMatches(side: 'saddr' | 'daddr', peers: Allowance['peers']): string[] {
  if (peers === undefined) return [''];
  const pods = ([4, 6] as const).flatMap((family) => {
    const addresses = peers.addresses.filter(isOf(family));
    return addresses.length === 0 ? [] : [`${nameOf(family)} ${side} { ${addresses.join(', ')} } `];
  });
  const blocks = peers.blocks.map(({ cidr, except }) => {
    const ip = nameOf(cidr.includes(':') ? 6 : 4);
    const without = except.length === 0 ? '' : `${ip} ${side} != { ${except.join(', ')} } `;
    return `${ip} ${side} ${cidr} ${without}`;
  });
  return [...pods, ...blocks];
}

function portMatches(ports: readonly PortRange[]): string[] {
  return (['tcp', 'udp', 'sctp'] as const).flatMap((protocol) => {
    const own = ports.filter((port) => port.protocol === protocol);
    if (own.length === 0) return [];
    if (own.some(({ first }) => first === undefined)) return [`meta l4proto ${protocol} `];
    const list = own.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`));
    // one rule each: a set must not have ranges that overlap
    return [...new Set(list)].map((range) => `${protocol} dport ${range} `);
  });
}

/** By way of a Service a pod may meet itself, which no policy forbids. */
const itself = ({ addresses }: PodRules): Allowance => ({ peers: { addresses, blocks: [] } });
const nameOf = (family: 4 | 6): string => (family === 4 ? 'ip' : 'ip6');
