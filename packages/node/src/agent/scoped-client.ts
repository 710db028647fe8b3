import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import { PodKind, VirtualMachineInstanceKind, Label } from '@slipway/api';
import type { Client, ListOptions } from '@slipway/client';

/**
 * A client whose lists and watches of pods and VMIs see this node's only; everything else passes unchanged. With `coming` it
 * sees the VMIs whose guests move to this node instead.
 */
export function scopedClient(client: Client, nodeName: string, options: { readonly coming?: boolean } = {}): Client {
  const label = options.coming ? Label.migrationTargetNodeName : Label.nodeName;
  const scopeOf = <T extends KubeObject>(kind: ResourceKind<T>): Pick<ListOptions, 'fieldSelector' | 'labelSelector'> => {
    if (kind.group === PodKind.group && kind.plural === PodKind.plural) return { fieldSelector: `spec.nodeName=${nodeName}` };
    if (kind.group === VirtualMachineInstanceKind.group && kind.plural === VirtualMachineInstanceKind.plural)
      return { labelSelector: `${label}=${nodeName}` };
    return {};
  };
  return {
    get: (kind, key, options) => client.get(kind, key, options),
    create: (kind, object, options) => client.create(kind, object, options),
    update: (kind, object, options) => client.update(kind, object, options),
    patch: (kind, key, patch, options) => client.patch(kind, key, patch, options),
    delete: (kind, key, options) => client.delete(kind, key, options),
    deleteCollection: (kind, list, options) => client.deleteCollection(kind, list, options),
    raw: (request) => client.raw(request),
    connect: (request) => client.connect(request),
    list: (kind, options) => client.list(kind, { ...scopeOf(kind), ...options }),
    watch: (kind, options) => client.watch(kind, { ...scopeOf(kind), ...options }),
  };
}
