import { allow, type ControllerRegistration } from '@slipway/runtime';
import { NetworkAddonsConfigKind } from '../kinds.ts';
import { healthy, statusReconciler } from './component-status.ts';

/** Reports the networks that the agents of the nodes make (bridges, multus-like attachments) as deployed. */
export const networkAddonsOperator: ControllerRegistration = {
  name: 'cluster-network-addons-operator',
  rules: allow('update', NetworkAddonsConfigKind, [NetworkAddonsConfigKind, 'status']),
  create(deps) {
    const { version } = deps.settings;
    return {
      kind: NetworkAddonsConfigKind,
      concurrency: 1,
      reconciler: statusReconciler(NetworkAddonsConfigKind, deps, async () => ({
        conditions: healthy('Available', 'The agents of the nodes provide the networks'),
        fields: { operatorVersion: version, targetVersion: version, observedVersion: version },
      })),
    };
  },
};
