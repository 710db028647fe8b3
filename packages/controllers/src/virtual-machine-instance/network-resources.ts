import type { NetworkAttachmentDefinition, VirtualMachineInstance } from '@slipway/api';
import type { ObjectKey } from '@slipway/apimachinery';

const RESOURCE_ANNOTATION = 'k8s.v1.cni.cncf.io/resourceName';

/** Device resources that the instance's multus networks ask for; `attachmentOf` finds a definition by its key. */
export function networkResources(
  vmi: VirtualMachineInstance,
  attachmentOf: (key: ObjectKey) => NetworkAttachmentDefinition | undefined,
): { readonly network: string; readonly resourceName: string }[] {
  return (vmi.spec.networks ?? []).flatMap(({ name, multus }) => {
    if (multus === undefined) return [];
    const definition = attachmentOf(attachmentKey(multus.networkName, vmi.metadata.namespace ?? ''));
    return [{ network: name, resourceName: definition?.metadata.annotations?.[RESOURCE_ANNOTATION] ?? '' }];
  });
}

/** `namespace/name`, or a name in the instance's own namespace. */
function attachmentKey(text: string, namespace: string): ObjectKey {
  const slash = text.indexOf('/');
  return slash < 0 ? { namespace, name: text } : { namespace: text.slice(0, slash), name: text.slice(slash + 1) };
}
