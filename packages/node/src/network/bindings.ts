import type { kubevirt, VirtualMachineInstance } from '@slipway/api';

/** How a guest interface is joined to its network here. */
export type Binding =
  | { readonly kind: 'masquerade' | 'bridge' | 'sriov' }
  /** Joined by a program of the administrator: a CNI plugin that makes the tap. */
  | { readonly kind: 'tap'; readonly definition: string };

/** Plugins that the KubeVirt object registers, by name. */
export type BindingPlugins = Readonly<Record<string, kubevirt.InterfaceBindingPlugin>>;

/** The binding of an interface. Throws why this node cannot make it, with what to do instead. */
export function bindingOf(nic: kubevirt.Interface, plugins: BindingPlugins): Binding {
  if (nic.masquerade) return { kind: 'masquerade' };
  if (nic.bridge) return { kind: 'bridge' };
  if (nic.sriov) return { kind: 'sriov' };
  if (nic.passtBinding)
    throw new Error(
      `Interface "${nic.name}" asks for passt, which needs a libvirt that joins it by vhost-user (11.1 or later) and a passt ` +
        'that speaks it (2024-11 or later), and this node does not use either; use masquerade, which looks the same to the guest',
    );
  if (nic.binding) return pluginBinding(nic, nic.binding.name, plugins);
  throw new Error(`Interface "${nic.name}" has no binding that this node can make; use masquerade or bridge`);
}

function pluginBinding({ name }: kubevirt.Interface, pluginName: string, plugins: BindingPlugins): Binding {
  const plugin = plugins[pluginName];
  const asked = `Interface "${name}" asks for the binding plugin "${pluginName}"`;
  if (plugin === undefined)
    throw new Error(`${asked}, which is not registered: add it to spec.configuration.network.binding of the KubeVirt object`);
  if (plugin.sidecarImage)
    throw new Error(
      `${asked}, whose sidecar "${plugin.sidecarImage}" is a container; this node runs no containers, so only plugins without ` +
        'a sidecar work, with domainAttachmentType "tap" or "managedTap"',
    );
  switch (plugin.domainAttachmentType) {
    // the tap is made as for a bridge; addresses come from the network
    case 'managedTap':
      return { kind: 'bridge' };
    case 'tap':
      if (plugin.networkAttachmentDefinition) return { kind: 'tap', definition: plugin.networkAttachmentDefinition };
      throw new Error(`${asked}, which names no networkAttachmentDefinition whose plugin would make the tap`);
    default:
      throw new Error(`${asked}, which has neither a domainAttachmentType nor a program that would add the device`);
  }
}

/** The network that takes the place of the pod's own, if the instance asks for one. */
export function defaultNetworkOf(vmi: VirtualMachineInstance | undefined): kubevirt.Network | undefined {
  return vmi?.spec.networks?.find(({ multus }) => multus?.default === true);
}
