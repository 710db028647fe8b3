import type { Pod } from '@slipway/api';
import { readCniResult } from './cni-result.ts';
import type { PodNetworkPlan } from './plan-pod-network.ts';
import type { RecordedAttachment } from './pod-records.ts';

const STATUS_ANNOTATION = 'k8s.v1.cni.cncf.io/network-status';

/** What a pod says of one of the networks that it is attached to. */
export interface AttachedNetwork {
  /** `namespace/name` of its definition. */
  readonly name: string;
  /** Name of the interface in the pod. */
  readonly interface: string;
  readonly ips: readonly string[];
}

/** The networks that a pod says it is attached to; what is of another shape is left out. */
export function networkStatusOf({ metadata }: Pod): readonly AttachedNetwork[] {
  try {
    const list: unknown = JSON.parse(metadata.annotations?.[STATUS_ANNOTATION] ?? '[]');
    return (Array.isArray(list) ? list : []).flatMap((entry: unknown) => {
      if (typeof entry !== 'object' || entry === null || !('interface' in entry) || !('name' in entry)) return [];
      const ips: unknown[] = 'ips' in entry && Array.isArray(entry.ips) ? entry.ips : [];
      return [{ name: String(entry.name), interface: String(entry.interface), ips: ips.map(String) }];
    });
  } catch {
    return [];
  }
}

/** Definitions of the networks that a pod says it is attached to, by the name of the interface in it. */
export function attachedNetworks(pod: Pod): ReadonlyMap<string, string> {
  return new Map(networkStatusOf(pod).map((entry) => [entry.interface, entry.name]));
}

const pciDevice = (address: string) => ({ type: 'pci', version: '1.1.0', pci: { 'pci-address': address } });

/** Annotations that tell which networks a pod is attached to, as Multus and KubeVirt write them. */
export function networkAnnotationsOf(
  plan: Pick<PodNetworkPlan, 'taps' | 'podIPs'>,
  attached: readonly RecordedAttachment[],
): Record<string, string> {
  const devices = attached.flatMap(({ name, device, attachment: { mac } }) =>
    device === undefined ? [] : [{ network: name, deviceInfo: pciDevice(device), mac }],
  );
  return {
    [STATUS_ANNOTATION]: networkStatusAnnotation(plan, attached),
    ...(devices.length > 0 && { 'kubevirt.io/network-info': JSON.stringify({ interfaces: devices }) }),
  };
}

function networkStatusAnnotation(plan: Pick<PodNetworkPlan, 'taps' | 'podIPs'>, attached: readonly RecordedAttachment[]): string {
  const isReplaced = attached.some(({ attachment }) => attachment.ifname === 'eth0');
  const primary = plan.taps.find(({ podInterfaceName }) => podInterfaceName === 'eth0');
  const own = {
    name: 'slipway',
    interface: 'eth0',
    ips: plan.podIPs,
    ...(primary && { mac: primary.mac }),
    default: true,
    dns: {},
  };
  return JSON.stringify([...(isReplaced ? [] : [own]), ...attached.map(entryOf)]);
}

function entryOf({ attachment: { ifname, mac }, ips = [], networkName, device, result, tap }: RecordedAttachment): object {
  const { dns } = readCniResult(result, ifname);
  return {
    ...{ name: networkName, interface: ifname, ...(ips.length > 0 && { ips }), mac },
    ...(tap && { mtu: tap.mtu }),
    ...(ifname === 'eth0' && { default: true }),
    dns: {
      ...(dns.nameservers.length > 0 && { nameservers: dns.nameservers }),
      ...(dns.searches.length > 0 && { search: dns.searches }),
    },
    ...(device !== undefined && { 'device-info': pciDevice(device) }),
  };
}
