import { join } from 'node:path';
import { type NodeConfig, nodeLink } from '@slipway/node';
import { type InstanceConfig, type NodeInstance, serviceNetworks } from '../instance/instance-config.ts';
import type { InstancePaths } from '../instance/paths.ts';

/** What the node package needs to know of one node of this installation. */
export function nodeConfig(
  node: NodeInstance,
  { config, paths }: { readonly config: Pick<InstanceConfig, 'id' | 'link' | 'services'>; readonly paths: InstancePaths },
): NodeConfig {
  return {
    nodeName: node.name,
    hostPrefix: node.hostPrefix,
    stateDir: paths.node(node.name).stateDir,
    sharedDir: join(paths.dataDir, 'shared-volumes'),
    podCidrV4: node.podCidrV4,
    podCidrV6: node.podCidrV6,
    uidBase: node.uidBase,
    serviceNetworks: config.services ? serviceNetworks(config.services) : [],
    ...(config.link && { link: nodeLink(config.id, config.link, node) }),
  };
}
