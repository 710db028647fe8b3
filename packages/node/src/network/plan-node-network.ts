import { arrivedChain } from './arrived.ts';
import { type Cidr, parseCidr } from './cidr.ts';
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
  /** Somebody else hides the pods from the outside. */
  readonly isHidden: boolean;
  /** Link to the other nodes of a node that has a network namespace of its own. */
  readonly link?: string | undefined;
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
      ...inputs.serviceNetworks.map(
        (network) => `route replace ${network} dev ${names.bridge} src ${(network.includes(':') ? v6 : v4).addressAt(1)}`,
      ),
    ],
    nft: nodeRuleset(names, v4, v6, inputs.isHidden),
    sysctls: [
      ...forwardingSysctls(inputs.autoconfiguredLinks),
      // what moves with its guest is sent on by this node for moments; nobody shall learn such ways by heart
      ...(inputs.link === undefined
        ? []
        : ['all', inputs.link].map((name) => ({ path: `net/ipv4/conf/${name}/send_redirects`, value: '0' }))),
    ],
  };
}

function bridgeMac(name: string): string {
  const bytes = Buffer.from(name.slice(0, 4)).toString('hex').match(/../g) ?? [];
  return ['02', '53', ...bytes].join(':');
}

function nodeRuleset({ table, anyVethPrefix }: HostNames, v4: Cidr, v6: Cidr, isHidden: boolean): string {
  const masquerade = `    ip saddr ${v4.text} ip daddr != ${POD_NETWORKS.v4} masquerade
    ip6 saddr ${v6.text} ip6 daddr != ${POD_NETWORKS.v6} masquerade
`;
  const pods = `"${anyVethPrefix}*"`;
  // a guest that has come from another node asks the router it was told of, which may be lost; any node's answers at .1
  const routersV4 = `ip daddr ${POD_NETWORKS.v4} ip daddr & ${hostMaskV4(v4.prefix)} == 0.0.0.1`;
  const routersV6 = `ip6 daddr ${POD_NETWORKS.v6} ip6 daddr & ${hostMaskV6(v6.prefix)} == ::1`;
  return `table inet ${table}
delete table inet ${table}
table inet ${table} {
${arrivedChain}  chain raw {
    type filter hook prerouting priority -300; policy accept;
    iifname ${pods} ip daddr 127.0.0.0/8 drop
  }
  chain prerouting {
    type nat hook prerouting priority -101; policy accept;
    iifname ${pods} ${routersV4} meta l4proto { tcp, udp } th dport 53 dnat ip to ${v4.addressAt(1)}
    iifname ${pods} ${routersV6} meta l4proto { tcp, udp } th dport 53 dnat ip6 to ${v6.addressAt(1)}
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
${isHidden ? '' : masquerade}  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname ${pods} accept
    oifname ${pods} accept
  }
}
`;
}

const hostMaskV4 = (prefix: number): string =>
  [24, 16, 8, 0].map((shift) => ((2 ** (32 - prefix) - 1) >>> shift) & 255).join('.');
const hostMaskV6 = (prefix: number): string => {
  const bits = '0'.repeat(prefix) + '1'.repeat(128 - prefix);
  return (bits.match(/.{16}/g) ?? []).map((group) => Number.parseInt(group, 2).toString(16)).join(':');
};
