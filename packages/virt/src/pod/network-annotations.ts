import { createHash } from 'node:crypto';
import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import type { LauncherContext } from './context.ts';

/** Name of a secondary interface inside the pod. */
export function podInterfaceName(networkName: string): string {
  return `pod${createHash('sha256').update(networkName).digest('hex').slice(0, 11)}`;
}

interface Attachment {
  readonly name: string;
  readonly namespace: string;
  readonly mac?: string;
  readonly interface?: string;
  readonly 'cni-args'?: Readonly<Record<string, unknown>>;
  readonly ips?: readonly string[];
}

const NETWORKS = 'k8s.v1.cni.cncf.io/networks';

/** What the instance's own annotation asks of a network beside what its spec says: addresses and arguments for the plugins. */
function wishesOf(vmi: VirtualMachineInstance, of: { readonly namespace: string; readonly name: string }): Partial<Attachment> {
  let entries: unknown;
  try {
    entries = JSON.parse(vmi.metadata.annotations?.[NETWORKS] ?? '[]');
  } catch {
    return {}; // the short form asks for nothing
  }
  // the shape is that of Multus; what is none of it asks for nothing
  const list = (Array.isArray(entries) ? entries : []) as readonly (Partial<Attachment> | null)[];
  const wish = list.find(
    (entry) => entry?.name === of.name && (entry.namespace ?? vmi.metadata.namespace ?? 'default') === of.namespace,
  );
  const { ips, 'cni-args': args } = wish ?? {};
  const isObject = typeof args === 'object' && args !== null && !Array.isArray(args);
  return {
    ...(Array.isArray(ips) && ips.every((ip) => typeof ip === 'string') && { ips }),
    ...(isObject && { 'cni-args': args }),
  };
}

function split(networkName: string, namespace: string): { readonly namespace: string; readonly name: string } {
  const slash = networkName.indexOf('/');
  return slash < 0
    ? { namespace, name: networkName }
    : { namespace: networkName.slice(0, slash), name: networkName.slice(slash + 1) };
}

function attachmentsOf(
  network: kubevirt.Network,
  nic: kubevirt.Interface | undefined,
  vmi: VirtualMachineInstance,
  context: LauncherContext,
): Attachment[] {
  const namespace = vmi.metadata.namespace ?? 'default';
  const out: Attachment[] = [];
  const { multus } = network;
  if (nic?.state === 'absent') return out;
  if (multus && !multus.default) {
    const named = split(multus.networkName, namespace);
    out.push({
      ...named,
      ...(nic?.macAddress && { mac: nic.macAddress }),
      interface: podInterfaceName(network.name),
      ...wishesOf(vmi, named),
    });
  }
  const plugin = nic?.binding && context.config.configuration.network?.binding?.[nic.binding.name];
  if (plugin?.networkAttachmentDefinition)
    out.push({ ...split(plugin.networkAttachmentDefinition, namespace), 'cni-args': { logicNetworkName: network.name } });
  return out;
}

/** Annotations that tell Multus and Istio about the networks of the VMI. */
export function networkAnnotations(vmi: VirtualMachineInstance, context: LauncherContext): Record<string, string> {
  const interfaces = vmi.spec.domain.devices.interfaces ?? [];
  const networks = vmi.spec.networks ?? [];
  const attachments = networks.flatMap((network) => {
    const nic = interfaces.find(({ name }) => name === network.name);
    return attachmentsOf(network, nic, vmi, context);
  });
  const primary = networks.find(({ multus }) => multus?.default)?.multus?.networkName;
  const masquerade = interfaces.some((nic) => nic.masquerade && networks.some(({ name, pod }) => pod && name === nic.name));
  const injected = vmi.metadata.annotations?.['sidecar.istio.io/inject'] === 'true';
  // KubeVirt-compat: releases up to 1.1 announce the bridge without asking for Istio.
  const istio = masquerade && (injected || !context.profile.currentMetadata);
  return {
    ...(attachments.length > 0 && { [NETWORKS]: JSON.stringify(attachments) }),
    ...(primary !== undefined && { 'v1.multus-cni.io/default-network': primary }),
    ...(istio && { 'traffic.sidecar.istio.io/kubevirtInterfaces': 'k6t-eth0' }),
    ...(istio && context.profile.currentMetadata && { 'istio.io/reroute-virtual-interfaces': 'k6t-eth0' }),
  };
}
