import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { cpuTopology, podInterfaceName, stableMac, vcpuCount } from '@slipway/virt';
import type { PlannedTap } from '../contracts.ts';
import type { PodAddresses } from './address-pool.ts';
import { type BindingPlugins, bindingOf, defaultNetworkOf } from './bindings.ts';
import { parseCidr } from './cidr.ts';
import type { Sysctl } from './forwarding.ts';
import type { GuestConfig } from './guest-config.ts';
import type { HostNames } from './host-names.ts';
import type { Resolver } from './host-resolver.ts';
import { masqueradeRuleset } from './masquerade-ruleset.ts';
import { type Attachment, bridgeMac, secondaryLinks } from './plan-second-network.ts';
import { gatewaysOf } from './pod-networks.ts';

/** Everything the plan of one pod's network is made from. */
export interface PodNetworkInputs {
  readonly podUid: string;
  readonly netns: string;
  /** Owner of the taps. */
  readonly tapUid: number;
  /** Absent for pods without a guest. */
  readonly vmi: VirtualMachineInstance | undefined;
  /** What the address and the MAC addresses belong to. */
  readonly owner: string;
  readonly hostname: string;
  readonly addresses: PodAddresses;
  readonly podCidrV4: string;
  readonly podCidrV6: string;
  readonly mtu: number;
  readonly resolver: Resolver;
  readonly names: HostNames;
  /** Binding plugins that are registered. */
  readonly plugins?: BindingPlugins;
}

/** The network of one pod as data. */
export interface PodNetworkPlan {
  /** Lines for `ip -batch` on the host. */
  readonly hostIp: readonly string[];
  /** Lines for `ip -batch` on the host that lead to the pod's addresses. */
  readonly hostRoutes: readonly string[];
  /** Settings of the host's end of the pod's link, which exist when the link does. */
  readonly hostSysctls: readonly Sysctl[];
  /** Lines for `ip -batch` in the pod's namespace. */
  readonly podIp: readonly string[];
  /** nftables script for the pod's namespace; empty when nothing is translated. */
  readonly podNft: string;
  readonly podIPs: readonly string[];
  readonly taps: readonly PlannedTap[];
  /** What the guests are told by DHCP and router advertisements. */
  readonly guests: readonly GuestConfig[];
  /** Networks that CNI attaches, and how they are joined with the guest then. */
  readonly attachments: readonly Attachment[];
}

const POD_LINK = 'eth0';
/** The host, on every pod's link; another address than the pod itself has towards its guest. */
const ROUTER_V6 = 'fe80::1:1';
const ROUTER_MAC = '02:53:00:00:00:01';
const BRIDGE_MAC = '02:00:00:00:00:00';
/** Address of the in-pod bridge when the guest has the pod's own address; only the guest sees it. */
const LINK_LOCAL_SERVER = '169.254.75.10';
const MAX_QUEUES = 256;

/** Plans links, addresses, translation and guest configuration of a pod. Throws for bindings that cannot be made here. */
export function planPodNetwork(inputs: PodNetworkInputs): PodNetworkPlan {
  const { names, podUid, netns, addresses, mtu } = inputs;
  const veth = names.veth(podUid, POD_LINK);
  const guest = primaryGuest(inputs);
  const attachments = multusInterfaces(inputs);
  const shared = {
    taps: [...(guest ? [guest.tap] : []), ...attachments.map(({ tap }) => tap)],
    guests: guest ? [guest.config] : [],
    attachments,
  };
  // another network takes the place of this one: the pod gets nothing from here
  if (defaultNetworkOf(inputs.vmi) !== undefined)
    return {
      ...{ hostIp: [`netns add ${netns}`], hostRoutes: [], hostSysctls: [], podIp: ['link set lo up'], podNft: '', podIPs: [] },
      ...shared,
    };
  return {
    hostIp: [
      `netns add ${netns}`,
      `link add ${veth} mtu ${mtu} type veth peer name ${POD_LINK} mtu ${mtu} netns ${netns}`,
      // the same on each node, so that a guest that moves keeps its router
      `link set ${veth} address ${ROUTER_MAC}`,
      `addr add ${ROUTER_V6}/64 dev ${veth} nodad`,
      `link set ${veth} up`,
    ],
    hostRoutes: hostRouteLines(veth, inputs),
    hostSysctls: [
      // a guest with the pod's own address takes other pods for neighbours: the host answers in their place
      ...(guest?.keepsAddress === false ? [{ path: `net/ipv4/conf/${veth}/proxy_arp`, value: '1' }] : []),
      ...(guest?.keepsAddress === false ? [{ path: `net/ipv4/neigh/${veth}/proxy_delay`, value: '0' }] : []),
      // node ports of 127.0.0.1; what pods send there themselves is dropped
      { path: `net/ipv4/conf/${veth}/route_localnet`, value: '1' },
    ],
    podIp: ['link set lo up', ...(guest?.keepsAddress === false ? [] : podAddressLines(inputs)), ...(guest?.ip ?? [])],
    podNft: guest?.nft ?? '',
    podIPs: [addresses.v4, addresses.v6],
    ...shared,
  };
}

/** The one way to the pod's addresses. */
function hostRouteLines(veth: string, { addresses, podCidrV4, podCidrV6 }: PodNetworkInputs): string[] {
  const [gatewayV4, gatewayV6] = gatewaysOf({ podCidrV4, podCidrV6 });
  return [
    `route replace ${addresses.v4}/32 dev ${veth} src ${gatewayV4}`,
    `route replace ${addresses.v6}/128 dev ${veth} src ${gatewayV6}`,
  ];
}

function podAddressLines({ addresses, podCidrV4, podCidrV6 }: PodNetworkInputs): string[] {
  const [gateway] = gatewaysOf({ podCidrV4, podCidrV6 });
  return [
    `addr add ${addresses.v4}/32 dev ${POD_LINK}`,
    `addr add ${addresses.v6}/128 dev ${POD_LINK} nodad`,
    `link set ${POD_LINK} up`,
    `route add ${gateway}/32 dev ${POD_LINK}`,
    `route add default via ${gateway}`,
    `route add ::/0 via ${ROUTER_V6} dev ${POD_LINK}`,
  ];
}

interface GuestPlan {
  readonly ip: readonly string[];
  readonly nft: string;
  readonly tap: PlannedTap;
  readonly config: GuestConfig;
  /** The pod itself has the address and translates for the guest. */
  readonly keepsAddress: boolean;
}

function primaryGuest(inputs: PodNetworkInputs): GuestPlan | undefined {
  const network = inputs.vmi?.spec.networks?.find(({ pod }) => pod !== undefined);
  const nic = inputs.vmi?.spec.domain.devices.interfaces?.find(({ name }) => name === network?.name);
  if (!inputs.vmi || !network || !nic || nic.state === 'absent') return undefined;
  const { kind } = bindingOf(nic, inputs.plugins ?? {});
  if (kind === 'bridge') return bridgeGuest(inputs, nic);
  if (kind === 'masquerade') return masqueradeGuest(inputs, nic, network);
  throw new Error(
    kind === 'sriov'
      ? `Interface "${nic.name}" asks for SR-IOV on the pod network, which has no devices; use a Multus network`
      : `Interface "${nic.name}" asks for a binding plugin with a tap of its own on the pod network; here it needs domainAttachmentType "managedTap"`,
  );
}

function masqueradeGuest(inputs: PodNetworkInputs, nic: kubevirt.Interface, network: kubevirt.Network): GuestPlan {
  const v4 = parseCidr(network.pod?.vmNetworkCIDR || '10.0.2.0/24');
  const v6 = parseCidr(network.pod?.vmIPv6NetworkCIDR || 'fd10:0:2::/120');
  const bridge = `k6t-${POD_LINK}`;
  const mac = macOf(inputs, nic);
  const tap = plannedTap(inputs, nic, {
    tapName: 'tap0',
    podLink: POD_LINK,
    ipAddresses: [inputs.addresses.v4, inputs.addresses.v6],
  });
  return {
    keepsAddress: true,
    tap,
    nft: masqueradeRuleset({
      podLink: POD_LINK,
      bridge,
      guestV4: v4.addressAt(2),
      gatewayV4: v4.addressAt(1),
      guestV6: v6.addressAt(2),
      gatewayV6: v6.addressAt(1),
      ports: (nic.ports ?? []).map(({ port, protocol }) => ({ port, protocol: protocol === 'UDP' ? 'udp' : 'tcp' })),
      ranges: (nic.portRanges ?? []).map(({ start, end, protocol }) => ({
        start,
        end,
        protocol: protocol === 'UDP' ? 'udp' : 'tcp',
      })),
      pod: inputs.addresses,
      isProxied: inputs.vmi?.metadata.annotations?.['sidecar.istio.io/inject'] === 'true',
    }),
    ip: [
      ...bridgeLines(bridge, inputs.mtu),
      `addr add ${v4.addressAt(1)}/${v4.prefix} dev ${bridge}`,
      `addr add ${v6.addressAt(1)}/${v6.prefix} dev ${bridge} nodad`,
      `addr add fe80::1/64 dev ${bridge} nodad`,
      `link set ${bridge} up`,
      ...tapLines(tap, bridge, inputs.tapUid),
    ],
    config: {
      link: bridge,
      mac,
      hostname: inputs.hostname,
      mtu: inputs.mtu,
      resolver: inputs.resolver,
      v4: { address: v4.addressAt(2), prefix: v4.prefix, gateway: v4.addressAt(1), server: v4.addressAt(1), routes: [] },
      v6: { address: v6.addressAt(2), prefix: v6.prefix, network: v6.addressAt(0) },
      ...(nic.dhcpOptions && { dhcpOptions: nic.dhcpOptions }),
    },
  };
}

/** The guest gets the pod's address; the pod keeps a bridge with an address that nobody else sees. */
function bridgeGuest(inputs: PodNetworkInputs, nic: kubevirt.Interface): GuestPlan {
  const bridge = `k6t-${POD_LINK}`;
  // of the node that the address comes from, which is another one when the VM has moved
  const v4 = parseCidr(`${inputs.addresses.v4}/${parseCidr(inputs.podCidrV4).prefix}`);
  const v6 = parseCidr(`${inputs.addresses.v6}/${parseCidr(inputs.podCidrV6).prefix}`);
  const tap = plannedTap(inputs, nic, {
    tapName: 'tap0',
    podLink: POD_LINK,
    ipAddresses: [inputs.addresses.v4, inputs.addresses.v6],
  });
  return {
    keepsAddress: false,
    tap,
    nft: '',
    ip: [
      ...bridgeLines(bridge, inputs.mtu),
      `addr add ${LINK_LOCAL_SERVER}/32 dev ${bridge}`,
      `link set ${bridge} up`,
      `link set ${POD_LINK} master ${bridge} up`,
      ...tapLines(tap, bridge, inputs.tapUid),
    ],
    config: {
      link: bridge,
      mac: macOf(inputs, nic),
      hostname: inputs.hostname,
      mtu: inputs.mtu,
      resolver: inputs.resolver,
      v4: {
        address: inputs.addresses.v4,
        prefix: v4.prefix,
        gateway: v4.addressAt(1),
        server: LINK_LOCAL_SERVER,
        routes: [],
      },
      v6: { address: inputs.addresses.v6, prefix: v6.prefix, network: v6.addressAt(0), gateway: v6.addressAt(1) },
      ...(nic.dhcpOptions && { dhcpOptions: nic.dhcpOptions }),
    },
  };
}

function multusInterfaces(inputs: PodNetworkInputs): Attachment[] {
  const interfaces = inputs.vmi?.spec.domain.devices.interfaces ?? [];
  return (inputs.vmi?.spec.networks ?? []).flatMap((network) => {
    const index = interfaces.findIndex(({ name }) => name === network.name);
    const nic = interfaces[index];
    if (!network.multus || !nic || nic.state === 'absent') return [];
    const binding = bindingOf(nic, inputs.plugins ?? {});
    if (binding.kind === 'masquerade')
      throw new Error(`Interface "${nic.name}" of a Multus network cannot use masquerade: use bridge`);
    const podLink = network.multus.default ? POD_LINK : podInterfaceName(network.name);
    const { tap: tapName } = secondaryLinks(podLink);
    const tap = plannedTap(inputs, nic, { ...(binding.kind !== 'sriov' && { tapName }), podLink, ipAddresses: [] });
    return [
      {
        networkName: network.multus.networkName,
        name: network.name,
        podInterfaceName: podLink,
        mac: tap.mac,
        join: binding.kind === 'sriov' ? 'device' : binding.kind,
        ...(binding.kind === 'tap' && { definition: binding.definition }),
        index,
        tap,
        dhcp: {
          hostname: inputs.hostname,
          resolver: inputs.resolver,
          ...(nic.dhcpOptions && { dhcpOptions: nic.dhcpOptions }),
        },
      },
    ];
  });
}

function bridgeLines(bridge: string, mtu: number): string[] {
  return [
    `link add ${bridge} mtu ${mtu} address ${bridge === `k6t-${POD_LINK}` ? BRIDGE_MAC : bridgeMac(bridge)} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
  ];
}

function tapLines({ tapName, mtu, queues }: PlannedTap, bridge: string, uid: number): string[] {
  return [
    // QEMU can open a tap only with the kind of queues it was made with.
    `tuntap add ${tapName} mode tap user ${uid} group ${uid}${queues > 1 ? ' multi_queue' : ''}`,
    `link set ${tapName} mtu ${mtu} master ${bridge} up`,
  ];
}

function macOf({ owner }: PodNetworkInputs, nic: kubevirt.Interface): string {
  return nic.macAddress ? nic.macAddress.toLowerCase().replaceAll('-', ':') : stableMac(owner, nic.name);
}

function plannedTap(
  inputs: PodNetworkInputs,
  nic: kubevirt.Interface,
  names: { readonly tapName?: string; readonly podLink: string; readonly ipAddresses: readonly string[] },
): PlannedTap {
  const isVirtio = nic.model === undefined || nic.model === '' || nic.model === 'virtio';
  const domain = inputs.vmi?.spec.domain;
  return {
    name: nic.name,
    ...(names.tapName !== undefined && { tapName: names.tapName }),
    mac: macOf(inputs, nic),
    mtu: inputs.mtu,
    queues: isVirtio && domain?.devices.networkInterfaceMultiqueue ? Math.min(vcpuCount(cpuTopology(domain)), MAX_QUEUES) : 1,
    podInterfaceName: names.podLink,
    ipAddresses: names.ipAddresses,
    infoSources: names.ipAddresses.length > 0 ? ['domain'] : ['domain', 'multus-status'],
  };
}
