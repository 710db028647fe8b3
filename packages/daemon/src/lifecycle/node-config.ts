import type { NodeConfig } from '@slipway/node';
import type { NodeInstance } from '../instance/instance-config.ts';
import type { InstancePaths } from '../instance/paths.ts';

/** What the node package needs to know of one node of this installation. */
export function nodeConfig(node: NodeInstance, paths: InstancePaths): NodeConfig {
  return {
    nodeName: node.name,
    hostPrefix: node.hostPrefix,
    stateDir: paths.node(node.name).stateDir,
    podCidrV4: node.podCidrV4,
    podCidrV6: node.podCidrV6,
    uidBase: node.uidBase,
  };
}
