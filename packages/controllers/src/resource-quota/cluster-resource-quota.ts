import { ClusterResourceQuotaKind, NamespaceKind } from '@slipway/api';
import { type KubeObject, keyOf, type ObjectKey } from '@slipway/apimachinery';
import {
  allow,
  asResourceQuota,
  clusterQuotaStatus,
  type ControllerRegistration,
  done,
  quotaStatus,
  selectsNamespace,
  specOrMetaChanged,
  sumUsage,
  watchOf,
} from '@slipway/runtime';
import { writeStatus } from '../workload/write-status.ts';
import { namespaceUsage } from './namespace-usage.ts';

/** Keeps the status of ClusterResourceQuotas at what the namespaces that they select really use. */
export const clusterResourceQuotaController: ControllerRegistration = {
  name: 'clusterquota-controller',
  rules: [...allow('update', [ClusterResourceQuotaKind, 'status'])],
  create(deps) {
    const { client, informers } = deps;
    const quotas = informers.lister(ClusterResourceQuotaKind);
    const namespaces = informers.lister(NamespaceKind);
    const quotasOf = ({ metadata }: KubeObject): readonly ObjectKey[] => {
      const all = quotas.list();
      const namespace = all.length > 0 ? namespaces.get({ namespace: '', name: metadata.namespace ?? '' }) : undefined;
      return namespace === undefined ? [] : all.filter((quota) => selectsNamespace(quota, namespace)).map(keyOf);
    };
    const usage = namespaceUsage(deps, quotasOf);
    return {
      kind: ClusterResourceQuotaKind,
      // what a write takes is entered by the API server: counting then, before the object is there, would undo it
      predicate: specOrMetaChanged,
      watches: [
        ...usage.watches,
        // a namespace may come under a quota, or leave it, by its labels
        watchOf(NamespaceKind, () => quotas.list().map(keyOf), specOrMetaChanged),
      ],
      run: usage.run,
      reconciler: {
        async reconcile(key, signal) {
          const quota = quotas.get(key);
          if (quota === undefined || quota.metadata.deletionTimestamp) return done;
          const as = asResourceQuota(quota);
          const selected = namespaces.list().filter((namespace) => selectsNamespace(quota, namespace));
          const uses = await Promise.all(
            selected.map(async ({ metadata: { name = '' } }) => ({ name, used: await usage.of(as, name, signal) })),
          );
          const status = clusterQuotaStatus(
            quotaStatus(as, sumUsage(uses.map(({ used }) => used))),
            uses.map(({ name, used }) => ({ namespace: name, status: quotaStatus(as, used) })),
          );
          await writeStatus(client, ClusterResourceQuotaKind, quota, status, signal);
          return done;
        },
      },
    };
  },
};
