import { ResourceQuotaKind } from '@slipway/api';
import { type KubeObject, keyOf } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done, quotaStatus } from '@slipway/runtime';
import { writeStatus } from '../workload/write-status.ts';
import { namespaceUsage } from './namespace-usage.ts';

export { clusterResourceQuotaController } from './cluster-resource-quota.ts';

/** Keeps `status.used` of ResourceQuotas at what their namespaces really use. */
export const resourceQuotaController: ControllerRegistration = {
  name: 'resourcequota-controller',
  rules: [...allow('update', [ResourceQuotaKind, 'status'])],
  create(deps) {
    const { client, informers } = deps;
    const quotas = informers.lister(ResourceQuotaKind);
    const quotasOf = ({ metadata }: KubeObject) => quotas.list(metadata.namespace).map(keyOf);
    const usage = namespaceUsage(deps, quotasOf);
    return {
      kind: ResourceQuotaKind,
      watches: usage.watches,
      run: usage.run,
      reconciler: {
        async reconcile(key, signal) {
          const quota = quotas.get(key);
          if (quota === undefined || quota.metadata.deletionTimestamp) return done;
          const used = await usage.of(quota, key.namespace, signal);
          await writeStatus(client, ResourceQuotaKind, quota, quotaStatus(quota, used), signal);
          return done;
        },
      },
    };
  },
};
