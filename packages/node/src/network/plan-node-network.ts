import { parseCidr } from './cidr.ts';
import { forwardingSysctls, type Sysctl } from './forwarding.ts';
import type { HostNames } from './host-names.ts';
import { POD_NETWORKS } from './pod-networks.ts';

export interface NodeNetworkPlan {
  /** Lines for `ip -batch`. */
  readonly ip: readonly string[];
  /** One nftables transaction that replaces this node's own table. */
  readonly nft: string;
  /** Files below /proc/sys and their values. */
  readonly sysctls: readonly Sysctl[];
}

export interface NodeNetworkInputs {
  readonly names: HostNames;
  readonly podCidrV4: string;
  readonly podCidrV6: string;
  readonly mtu: number;
  /** Networks of Services. */
  readonly serviceNetworks: readonly string[];
  readonly bridgeExists: boolean;
  /** Links that learn their IPv6 routes from advertisements; forwarding would switch that off. */
  readonly autoconfiguredLinks: readonly string[];
}

/**
 * What a node needs once: a link with the gateway addresses, forwarding, and NAT towards the outside. Each pod is on a link
 * of its own, so that whatever pods send each other is routed and passes the rules of Services and NetworkPolicies. On a
 * bridge it would not, or half of it on hosts that pass bridged frames through the packet filter.
 */
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
      // a machine without a default route could not send to Services else; what no Service has goes nowhere
      ...inputs.serviceNetworks.map((network) => `route replace ${network} dev ${names.bridge} src ${v4.addressAt(1)}`),
    ],
    nft: nodeRuleset(names, v4.text, v6.text),
    sysctls: forwardingSysctls(inputs.autoconfiguredLinks),
  };
}

function bridgeMac(name: string): string {
  const bytes = Buffer.from(name.slice(0, 4)).toString('hex').match(/../g) ?? [];
  return ['02', '53', ...bytes].join(':');
}

function nodeRuleset({ table, anyVethPrefix }: HostNames, v4: string, v6: string): string {
  const pods = `"${anyVethPrefix}*"`;
  return `table inet ${table}
delete table inet ${table}
table inet ${table} {
  chain raw {
    type filter hook prerouting priority -300; policy accept;
    iifname ${pods} ip daddr 127.0.0.0/8 drop
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    ip saddr ${v4} ip daddr != ${POD_NETWORKS.v4} masquerade
    ip6 saddr ${v6} ip6 daddr != ${POD_NETWORKS.v6} masquerade
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname ${pods} accept
    oifname ${pods} accept
  }
}
`;
}
