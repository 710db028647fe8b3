import { AaqKind } from '@slipway/api';
import { allow, type ControllerRegistration } from '@slipway/runtime';
import { healthy, statusReconciler } from './component-status.ts';

/** Reports the quotas that know guests as deployed: the API server and a controller of this process keep them. */
export const aaqOperator: ControllerRegistration = {
  name: 'aaq-operator',
  rules: allow('update', AaqKind, [AaqKind, 'status']),
  create(deps) {
    const { version } = deps.settings;
    return {
      kind: AaqKind,
      concurrency: 1,
      reconciler: statusReconciler(AaqKind, deps, async () => ({
        conditions: healthy('DeployCompleted', 'Deployment Completed'),
        fields: { phase: 'Deployed', operatorVersion: version, targetVersion: version, observedVersion: version },
      })),
    };
  },
};
