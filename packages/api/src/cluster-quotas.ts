import type { KubeObject, LabelSelectorObject, ResourceKind } from '@slipway/apimachinery';
import type { ResourceQuota } from './core.ts';

/** `quota.openshift.io/v1`: one quota for all namespaces that it selects together. */
export interface ClusterResourceQuota extends KubeObject {
  spec?: {
    /** Both must fit where both are given; with neither no namespace is meant. */
    selector?: { labels?: LabelSelectorObject | null; annotations?: Readonly<Record<string, string>> | null };
    quota?: NonNullable<ResourceQuota['spec']>;
  };
  status?: {
    total?: NonNullable<ResourceQuota['status']>;
    namespaces?: readonly NamespaceQuotaStatus[] | null;
  };
}

/** What one of the namespaces takes. */
export interface NamespaceQuotaStatus {
  namespace: string;
  status: NonNullable<ResourceQuota['status']>;
}

export const ClusterResourceQuotaKind: ResourceKind<ClusterResourceQuota> = {
  group: 'quota.openshift.io',
  version: 'v1',
  kind: 'ClusterResourceQuota',
  plural: 'clusterresourcequotas',
  namespaced: false,
};
