import { forbidden } from '@slipway/apimachinery';
import { nodeNameOf, nodeOfObject } from '../authz/node-authorizer.ts';
import type { AdmissionPlugin } from './admission-chain.ts';

/** Objects a node agent writes must be its own: its Node, its Lease, pods and instances bound to it. */
export function nodeRestriction(): AdmissionPlugin {
  return {
    name: 'NodeRestriction',
    validate({ user, resource, group, operation, name, object, oldObject, namespace }) {
      const node = nodeNameOf(user);
      if (node === undefined) return;
      const refuse = (why: string) => forbidden({ resource, group }, name, why);
      if (resource === 'nodes' || (resource === 'leases' && group === 'coordination.k8s.io')) {
        if (name !== node)
          throw refuse(`node ${JSON.stringify(node)} is not allowed to modify ${resource} ${JSON.stringify(name)}`);
        if (resource === 'leases' && namespace !== 'kube-node-lease') {
          throw refuse('node leases are kept in the namespace "kube-node-lease"');
        }
      }
      const isBound =
        (resource === 'pods' && group === '') || (resource === 'virtualmachineinstances' && group === 'kubevirt.io');
      if (!isBound) return;
      for (const one of [object, oldObject]) {
        if (one !== undefined && nodeOfObject(one) !== node)
          throw refuse(`it is not on node ${JSON.stringify(node)} (${operation})`);
      }
    },
  };
}
