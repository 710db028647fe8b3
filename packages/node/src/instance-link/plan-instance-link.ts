import { parseCidr } from '../network/cidr.ts';
import type { NodeLink } from '../contracts.ts';

/** The network that joins several nodes on one machine. */
export interface InstanceLink {
  /** For example `10.245.7.0/24`. */
  readonly networkV4: string;
  /** For example `fd10:245:7::/64`. */
  readonly networkV6: string;
  /** Addresses of this machine on it: there the API listens for nodes. */
  readonly hostV4: string;
  readonly hostV6: string;
}

/** A node of this machine, as far as the link is concerned. */
export interface LinkedNode {
  readonly hostPrefix: string;
  readonly podCidrV4: string;
  readonly podCidrV6: string;
  /** Its place on the link, from 1. Absent: the node shares the machine's own network namespace. */
  readonly linkIndex?: number;
}

export interface InstanceLinkInputs {
  /** Six hex characters of the installation. */
  readonly id: string;
  readonly link: InstanceLink;
  readonly nodes: readonly LinkedNode[];
  /** Networks of Services, of both families: this machine reaches them by way of the first node. */
  readonly serviceNetworks?: readonly string[];
  readonly mtu: number;
  /** What stands already. */
  readonly namespaces: ReadonlySet<string>;
  readonly hostLinks: ReadonlySet<string>;
  /** Links in the namespace of the link, when there is one. */
  readonly switchLinks: ReadonlySet<string>;
}

/** What joins the nodes, as lines for `ip -batch`, to be run in this order. */
export interface InstanceLinkPlan {
  readonly create: readonly string[];
  /** In the namespace of the link. */
  readonly switch: readonly string[];
  readonly host: readonly string[];
  /** In the namespaces of nodes. */
  readonly nodes: readonly { readonly namespace: string; readonly ip: readonly string[] }[];
  /** One nftables transaction that replaces the installation's own table. */
  readonly nft: string;
}

/** Names of what the link consists of; link names have at most 15 characters. */
export const linkNames = (id: string) => ({
  /** Namespace with the bridge that every node is connected to. */
  namespace: `${id}-link`,
  bridge: 'lan',
  /** This machine's end. */
  host: `${id}up`,
  /** The other end of that, on the bridge. */
  hostPort: 'host',
  table: `slipway_${id}`,
});

/** The node's port of the bridge: when it is down, the node is cut off. */
export const portOf = (linkIndex: number): string => `n${linkIndex}`;

/** Network namespace of a node. */
export const nodeNamespace = ({ hostPrefix }: Pick<LinkedNode, 'hostPrefix'>): string => `${hostPrefix}-node`;

export const NODE_DEVICE = 'eth0';
const FIRST_NODE = 10;
/** Routes to Services give way to every other route: no link has these addresses, and a network of the machine may. */
const SERVICE_METRIC = 8192;

/** How a node of this installation is joined to the others. */
export function nodeLink(id: string, link: InstanceLink, { linkIndex }: Pick<LinkedNode, 'linkIndex'>): NodeLink {
  const networks = [link.networkV4, link.networkV6];
  if (linkIndex === undefined) return { device: linkNames(id).host, addressV4: link.hostV4, addressV6: link.hostV6, networks };
  const offset = FIRST_NODE + linkIndex;
  return {
    device: NODE_DEVICE,
    addressV4: parseCidr(link.networkV4).addressAt(offset),
    // written like the last part of the IPv4 address: ::11 beside .11
    addressV6: parseCidr(link.networkV6).addressAt(Number.parseInt(String(offset), 16)),
    networks,
    hidesPods: true,
  };
}

/** Plans what is missing of the link, and sets again what may have been changed. Pure. */
export function planInstanceLink(inputs: InstanceLinkInputs): InstanceLinkPlan {
  const { id, link, nodes, mtu, namespaces, hostLinks, switchLinks } = inputs;
  const names = linkNames(id);
  const own = nodes.filter(({ linkIndex }) => linkIndex !== undefined);
  const wanted = [names.namespace, ...own.map(nodeNamespace)];
  return {
    create: wanted.filter((name) => !namespaces.has(name)).map((name) => `netns add ${name}`),
    switch: [
      'link set lo up',
      ...(switchLinks.has(names.bridge)
        ? []
        : [`link add ${names.bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`]),
      `link set ${names.bridge} mtu ${mtu} up`,
      ...own.flatMap((node) => portLines(node, names.bridge, mtu, switchLinks)),
    ],
    host: [
      ...(hostLinks.has(names.host)
        ? []
        : [`link add ${names.host} mtu ${mtu} type veth peer name ${names.hostPort} mtu ${mtu} netns ${names.namespace}`]),
      `addr replace ${link.hostV4}/${parseCidr(link.networkV4).prefix} dev ${names.host}`,
      `addr replace ${link.hostV6}/${parseCidr(link.networkV6).prefix} dev ${names.host} nodad`,
      `link set ${names.host} up`,
      // the node that has a pod answers for its address, see neighbour proxies in plan-pod-network.ts
      ...own.flatMap(({ podCidrV4, podCidrV6 }) => [
        `route replace ${podCidrV4} dev ${names.host}`,
        `route replace ${podCidrV6} dev ${names.host}`,
      ]),
      ...serviceRoutes(inputs),
    ],
    nodes: own.map((node) => ({ namespace: nodeNamespace(node), ip: nodeLines(id, link, node) })),
    nft: hostRuleset(names, link, nodes),
  };
}

/** Services are in packet filters alone: those of this machine's namespace, when a node shares it, else the first node's. */
function serviceRoutes({ id, link, nodes, serviceNetworks = [] }: InstanceLinkInputs): string[] {
  const [first] = nodes;
  if (first === undefined || nodes.some(({ linkIndex }) => linkIndex === undefined)) return [];
  const { addressV4, addressV6 } = nodeLink(id, link, first);
  // a metric of its own, because two installations may have the same network
  const metric = SERVICE_METRIC + Number(link.networkV4.split('.')[2]);
  return serviceNetworks.map(
    (network) =>
      `route replace ${network} via ${network.includes(':') ? addressV6 : addressV4} dev ${linkNames(id).host} metric ${metric}`,
  );
}

/** The port of this machine, once both ends are there. */
export const hostPortLines = (id: string): readonly string[] => {
  const { hostPort, bridge } = linkNames(id);
  return [`link set ${hostPort} master ${bridge} up`];
};

function portLines(node: LinkedNode, bridge: string, mtu: number, switchLinks: ReadonlySet<string>): string[] {
  const port = portOf(node.linkIndex ?? 0);
  return [
    ...(switchLinks.has(port)
      ? []
      : [`link add ${port} mtu ${mtu} type veth peer name ${NODE_DEVICE} mtu ${mtu} netns ${nodeNamespace(node)}`]),
    `link set ${port} master ${bridge} up`,
  ];
}

function nodeLines(id: string, link: InstanceLink, node: LinkedNode): string[] {
  const { addressV4, addressV6, device } = nodeLink(id, link, node);
  return [
    'link set lo up',
    `addr replace ${addressV4}/${parseCidr(link.networkV4).prefix} dev ${device}`,
    `addr replace ${addressV6}/${parseCidr(link.networkV6).prefix} dev ${device} nodad`,
    `link set ${device} up`,
    `route replace default via ${link.hostV4} dev ${device}`,
    `route replace ::/0 via ${link.hostV6} dev ${device}`,
  ];
}

/** What leaves the machine is hidden behind its address; among nodes and pods nothing is. */
function hostRuleset({ table, host }: ReturnType<typeof linkNames>, link: InstanceLink, nodes: readonly LinkedNode[]): string {
  const v4 = [link.networkV4, ...nodes.map(({ podCidrV4 }) => podCidrV4)].join(', ');
  const v6 = [link.networkV6, ...nodes.map(({ podCidrV6 }) => podCidrV6)].join(', ');
  return `table inet ${table}
delete table inet ${table}
table inet ${table} {
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    iifname "${host}" ip saddr { ${v4} } ip daddr != { ${v4} } masquerade
    iifname "${host}" ip6 saddr { ${v6} } ip6 daddr != { ${v6} } masquerade
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname "${host}" accept
    oifname "${host}" accept
  }
}
`;
}
