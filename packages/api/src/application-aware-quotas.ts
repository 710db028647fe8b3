import type { Condition, KubeObject, LabelSelectorObject, ResourceKind } from '@slipway/apimachinery';
import type { ClusterResourceQuota } from './cluster-quotas.ts';
import type { ResourceQuota } from './core.ts';

/** How a quota counts the pods of guests. */
export type VmiCalculator =
  | 'VmiPodUsage'
  | 'VirtualResources'
  | 'DedicatedVirtualResources'
  | 'GuestEffectiveResources'
  | 'IgnoreVmiCalculator';

/** Switches the quotas below on; written by HyperConverged. */
export interface Aaq extends KubeObject {
  spec?: {
    /** Namespaces whose pods wait for their quotas; absent: those with the label `application-aware-quota/enable-gating`. */
    namespaceSelector?: LabelSelectorObject;
    configuration?: {
      vmiCalculatorConfiguration?: { configName?: VmiCalculator };
      allowApplicationAwareClusterResourceQuota?: boolean;
    };
  };
  status?: { phase?: string; conditions?: Condition[]; observedVersion?: string };
}

/** A quota for which pods wait, instead of being refused. */
export interface ApplicationAwareResourceQuota extends KubeObject {
  spec?: NonNullable<ResourceQuota['spec']>;
  status?: NonNullable<ResourceQuota['status']>;
}

/** The same for several namespaces together. */
export interface ApplicationAwareClusterResourceQuota extends KubeObject {
  spec?: NonNullable<ClusterResourceQuota['spec']>;
  status?: NonNullable<ClusterResourceQuota['status']>;
}

const ofGroup = <T extends KubeObject>(kind: string, plural: string, namespaced: boolean): ResourceKind<T> => ({
  ...{ group: 'aaq.kubevirt.io', version: 'v1alpha1', kind, plural, namespaced },
});

export const AaqKind = ofGroup<Aaq>('AAQ', 'aaqs', false);
export const ApplicationAwareResourceQuotaKind = ofGroup<ApplicationAwareResourceQuota>(
  'ApplicationAwareResourceQuota',
  'applicationawareresourcequotas',
  true,
);
export const ApplicationAwareClusterResourceQuotaKind = ofGroup<ApplicationAwareClusterResourceQuota>(
  'ApplicationAwareClusterResourceQuota',
  'applicationawareclusterresourcequotas',
  false,
);
