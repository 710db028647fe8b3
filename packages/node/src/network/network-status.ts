import type { CniAttachment } from './cni.ts';
import type { PodNetworkPlan } from './plan-pod-network.ts';

interface AttachedNetwork {
  readonly attachment: CniAttachment;
  readonly ips?: readonly string[];
  readonly networkName?: string;
}

/** Content of the annotation that tells which networks a pod is attached to, as Multus writes it. */
export function networkStatusAnnotation(plan: PodNetworkPlan, attached: readonly AttachedNetwork[]): string {
  const primary = plan.taps.find(({ podInterfaceName }) => podInterfaceName === 'eth0');
  return JSON.stringify([
    { name: 'slipway', interface: 'eth0', ips: plan.podIPs, ...(primary && { mac: primary.mac }), default: true, dns: {} },
    ...attached.map(({ attachment, ips, networkName }) => ({
      name: networkName,
      interface: attachment.ifname,
      ...(ips && ips.length > 0 && { ips }),
      mac: attachment.mac,
      dns: {},
    })),
  ]);
}
