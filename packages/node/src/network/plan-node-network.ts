import { parseCidr } from './cidr.ts';
import { forwardingSysctls, type Sysctl } from './forwarding.ts';
import type { HostNames } from './host-names.ts';

export interface NodeNetworkPlan {
  /** Lines for `ip -batch`. */
  readonly ip: readonly string[];
  /** One nftables transaction that replaces this node's own table. */
  readonly nft: string;
  /** Files below /proc/sys and their values. */
  readonly sysctls: readonly Sysctl[];
  /** The same, of the bridge: they exist when the bridge does. */
  readonly bridgeSysctls: readonly Sysctl[];
}

export interface NodeNetworkInputs {
  readonly names: HostNames;
  readonly podCidrV4: string;
  readonly podCidrV6: string;
  readonly mtu: number;
  readonly bridgeExists: boolean;
  /** Links that learn their IPv6 routes from advertisements; forwarding would switch that off. */
  readonly autoconfiguredLinks: readonly string[];
}

/** What a node needs once: the bridge of its pods with the gateway addresses, forwarding, and NAT towards the outside. */
export function planNodeNetwork(inputs: NodeNetworkInputs): NodeNetworkPlan {
  const { names, mtu } = inputs;
  const v4 = parseCidr(inputs.podCidrV4);
  const v6 = parseCidr(inputs.podCidrV6);
  const create = [
    // A fixed address: else the bridge changes its own with its ports and pods lose their neighbour entry.
    `link add ${names.bridge} address ${bridgeMac(names.bridge)} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
  ];
  return {
    ip: [
      ...(inputs.bridgeExists ? [] : create),
      `link set ${names.bridge} mtu ${mtu}`,
      `addr replace ${v4.addressAt(1)}/${v4.prefix} dev ${names.bridge}`,
      `addr replace ${v6.addressAt(1)}/${v6.prefix} dev ${names.bridge} nodad`,
      `link set ${names.bridge} up`,
    ],
    nft: nodeRuleset(names, v4.text, v6.text),
    sysctls: forwardingSysctls(inputs.autoconfiguredLinks),
    bridgeSysctls: [
      // Pods see each other through this host alone, where Services and NetworkPolicies are decided: it answers for them.
      { path: `net/ipv4/conf/${names.bridge}/proxy_arp_pvlan`, value: '1' },
      { path: `net/ipv4/neigh/${names.bridge}/proxy_delay`, value: '0' },
      // node ports of 127.0.0.1; what pods send there is dropped below
      { path: `net/ipv4/conf/${names.bridge}/route_localnet`, value: '1' },
    ],
  };
}

function bridgeMac(name: string): string {
  const bytes = Buffer.from(name.slice(0, 4)).toString('hex').match(/../g) ?? [];
  return ['02', '53', ...bytes].join(':');
}

function nodeRuleset({ table, bridge }: HostNames, v4: string, v6: string): string {
  return `table inet ${table}
delete table inet ${table}
table inet ${table} {
  chain raw {
    type filter hook prerouting priority -300; policy accept;
    iifname "${bridge}" ip daddr 127.0.0.0/8 drop
  }
  chain output {
    type filter hook output priority 0; policy accept;
    oifname "${bridge}" icmp type redirect drop
    oifname "${bridge}" icmpv6 type nd-redirect drop
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    ip saddr ${v4} oifname != "${bridge}" masquerade
    ip6 saddr ${v6} oifname != "${bridge}" masquerade
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname "${bridge}" accept
    oifname "${bridge}" accept
  }
}
`;
}
