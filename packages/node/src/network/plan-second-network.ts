import { createHash } from 'node:crypto';
import { stableMac } from '@slipway/virt';
import type { PlannedTap } from '../contracts.ts';
import { parseCidr } from './cidr.ts';
import type { CniAnswer } from './cni-result.ts';
import type { GuestConfig } from './guest-config.ts';

/** A network that CNI attaches to a pod, and what joins it with the guest. */
export interface Attachment {
  /** `namespace/name`, or a name in the namespace of the pod. */
  readonly networkName: string;
  /** Network name of the VMI spec. */
  readonly name: string;
  readonly podInterfaceName: string;
  readonly mac: string;
  /**
   * `bridge`: the link is joined with a tap; `tap`: the plugin of `definition` has made the tap; `device`: the guest has the
   * device itself.
   */
  readonly join: 'bridge' | 'tap' | 'device';
  /** Plugin of the binding that makes the tap, by its NetworkAttachmentDefinition. */
  readonly definition?: string;
  /** Position among the interfaces of the VMI. */
  readonly index: number;
  /** For the guest; its MTU is that of the pod network until the link is there. */
  readonly tap: PlannedTap;
  /** What DHCP tells the guest besides what the network says. */
  readonly dhcp: Pick<GuestConfig, 'hostname' | 'resolver' | 'dhcpOptions'>;
}

/** What joins a link that CNI has made with its guest. */
export interface JoinedLink {
  /** Lines for `ip -batch` in the pod's namespace. */
  readonly ip: readonly string[];
  /** What the guest is told by DHCP; absent when the network gives no addresses. */
  readonly guest?: GuestConfig;
}

/** Names of what joins a network's link in the pod with the guest. */
export function secondaryLinks(podLink: string): { readonly bridge: string; readonly tap: string } {
  if (podLink === 'eth0') return { bridge: 'k6t-eth0', tap: 'tap0' };
  const suffix = podLink.slice('pod'.length);
  return { bridge: `k6t-${suffix}`, tap: `tap${suffix}` };
}

export interface JoinInputs {
  readonly attachment: Attachment;
  readonly podUid: string;
  /** Owner of the tap. */
  readonly uid: number;
  /** Of the link that was made. */
  readonly mtu: number;
  /** What the network's plugins answered. */
  readonly answer: CniAnswer;
}

/**
 * A bridge between the link and the guest's tap. An address that the network gave to the pod is the guest's: the link loses
 * it and the guest is told it by DHCP. Without an address nobody answers on the pod's side.
 */
export function planJoin(inputs: JoinInputs): JoinedLink {
  const { attachment, uid, mtu } = inputs;
  const { tap } = attachment;
  const { bridge } = secondaryLinks(attachment.podInterfaceName);
  const guest = guestConfigOf(inputs);
  return {
    ip: [
      `link add ${bridge} mtu ${mtu} address ${bridgeMac(bridge)} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
      ...(guest ? [`addr add ${guest.v4.server}/32 dev ${bridge}`] : []),
      `link set ${bridge} up`,
      ...linkLines(inputs),
      // QEMU can open a tap only with the kind of queues it was made with
      `tuntap add ${tap.tapName} mode tap user ${uid} group ${uid}${tap.queues > 1 ? ' multi_queue' : ''}`,
      `link set ${tap.tapName} mtu ${mtu} master ${bridge} up`,
    ],
    ...(guest && { guest }),
  };
}

/** Another network behind the same bridge: the tap, which QEMU has open, stays. */
export function planRejoin(inputs: JoinInputs): JoinedLink {
  const { bridge } = secondaryLinks(inputs.attachment.podInterfaceName);
  const guest = guestConfigOf(inputs);
  return {
    ip: [`addr flush dev ${bridge}`, ...(guest ? [`addr add ${guest.v4.server}/32 dev ${bridge}`] : []), ...linkLines(inputs)],
    ...(guest && { guest }),
  };
}

/** The link that CNI has made becomes a port of the bridge. */
function linkLines({ attachment, podUid, answer }: JoinInputs): string[] {
  const podLink = attachment.podInterfaceName;
  return [
    `link set ${podLink} down`,
    // the guest has the address of the attachment, so the link needs another one
    `link set ${podLink} address ${stableMac(`${podUid}/nic`, attachment.name)}`,
    ...(answer.ips.length > 0 ? [`addr flush dev ${podLink}`] : []),
    `link set ${podLink} master ${secondaryLinks(podLink).bridge} up`,
    `link set ${podLink} type bridge_slave learning off`,
  ];
}

const isDefault = (destination: string): boolean => /^0\.0\.0\.0\/0$/.test(destination);

/** KubeVirt-compat: DHCP tells the IPv4 address alone; the routes are those that the pod would have had. */
function guestConfigOf({ attachment, mtu, answer }: JoinInputs): GuestConfig | undefined {
  const own = answer.ips.find(({ address }) => !address.includes(':'));
  if (own === undefined) return undefined;
  const [address = '', prefix = '32'] = own.address.split('/');
  const viaOf = (gateway: string | undefined): string | undefined => gateway ?? own.gateway;
  const routes = answer.routes.filter(({ destination }) => !destination.includes(':'));
  const gateway = viaOf(routes.find(({ destination }) => isDefault(destination))?.gateway);
  const hasDefault = routes.some(({ destination }) => isDefault(destination));
  const others = routes.flatMap((route) => {
    const via = viaOf(route.gateway);
    return isDefault(route.destination) || via === undefined
      ? []
      : [{ destination: parseCidr(route.destination).text, gateway: via }];
  });
  const { nameservers, searches } = answer.dns;
  return {
    link: secondaryLinks(attachment.podInterfaceName).bridge,
    mac: attachment.mac,
    mtu,
    ...attachment.dhcp,
    ...((nameservers.length > 0 || searches.length > 0) && { resolver: { nameservers, searches } }),
    v4: {
      ...{ address, prefix: Number(prefix), routes: others },
      // only the guest sees it
      server: `169.254.75.1${attachment.index}`,
      ...(hasDefault && gateway !== undefined && { gateway }),
    },
  };
}

/** The address of a bridge in a pod, which nobody but its guest sees. */
export function bridgeMac(name: string): string {
  const digest = createHash('sha256').update(name).digest();
  return ['02', ...[...digest.subarray(0, 5)].map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}
