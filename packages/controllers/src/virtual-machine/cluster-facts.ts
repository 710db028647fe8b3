import { KubeVirtKind, type KubeVirt, type Node, NodeKind } from '@slipway/api';
import { quantityMilliValue, tryParseQuantity } from '@slipway/apimachinery';
import type { Informers, Lister } from '@slipway/runtime';
import { type ClusterConfig, clusterConfig, type ClusterConfigOptions } from '@slipway/virt';
import type { DynamicMetadataConfig } from '../virtual-machine-instance/dynamic-metadata.ts';

const KVM_RESOURCE = 'devices.kubevirt.io/kvm';

/** What rendering needs to know about the cluster, always current. */
export interface ClusterFacts {
  readonly config: () => ClusterConfig;
  /** Where the KubeVirt object is; undefined while there is none. */
  readonly kubeVirtNamespace: () => string | undefined;
  readonly rolloutStrategy: () => 'LiveUpdate' | 'Stage';
  /** Labels and annotations that running instances and their pods take over. */
  readonly dynamicMetadata: () => DynamicMetadataConfig;
  /** No node offers KVM, or the configuration asks for emulation. */
  readonly emulation: () => boolean;
}

/** Reads the KubeVirt object and the nodes from the shared caches. */
export function clusterFacts(informers: Informers, options: ClusterConfigOptions): ClusterFacts {
  const kubevirts = informers.lister(KubeVirtKind);
  const nodes = informers.lister(NodeKind);
  const config = cachedConfig(kubevirts, options);
  return {
    config,
    kubeVirtNamespace: () => kubevirts.list()[0]?.metadata.namespace,
    rolloutStrategy: () => (config().configuration.vmRolloutStrategy === 'Stage' ? 'Stage' : 'LiveUpdate'),
    dynamicMetadata: () => ({
      labels: config().configuration.additionalLauncherLabelsSync ?? [],
      annotations: config().configuration.additionalLauncherAnnotationsSync ?? [],
    }),
    emulation: () => config().configuration.developerConfiguration?.useEmulation === true || !nodes.list().some(hasKvm),
  };
}

/** The configuration is resolved again only when the object has changed. */
function cachedConfig(kubevirts: Lister<KubeVirt>, options: ClusterConfigOptions): () => ClusterConfig {
  let known: { readonly object: KubeVirt | undefined; readonly config: ClusterConfig } | undefined;
  return () => {
    const [object] = kubevirts.list();
    if (known === undefined || known.object !== object)
      known = { object, config: clusterConfig(object?.spec?.configuration, options) };
    return known.config;
  };
}

/** Whether the node has hardware virtualization to give. */
export function hasKvm({ status }: Node): boolean {
  const devices = tryParseQuantity(status?.allocatable?.[KVM_RESOURCE]); // a kubelet writes 1000 as 1k
  return devices !== undefined && quantityMilliValue(devices) > 0n;
}
