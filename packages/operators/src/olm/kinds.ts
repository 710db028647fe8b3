import type { Condition, KubeObject, ResourceKind } from '@slipway/apimachinery';
import type { Fields } from '../kinds.ts';

export type Approval = 'Automatic' | 'Manual';

export interface OperatorGroup extends KubeObject {
  spec?: { targetNamespaces?: string[]; selector?: Fields };
  status?: { namespaces?: string[]; lastUpdated?: string; conditions?: Condition[] };
}

export interface CatalogSource extends KubeObject {
  spec: { sourceType: string; image?: string; address?: string; displayName?: string; publisher?: string };
  status?: { connectionState?: { address?: string; lastConnect?: string; lastObservedState?: string } };
}

/** Names another object in a status. */
export interface Reference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
}

export interface Subscription extends KubeObject {
  spec: {
    /** The package. */
    name: string;
    source: string;
    sourceNamespace: string;
    channel?: string;
    startingCSV?: string;
    installPlanApproval?: Approval;
    config?: Fields;
  };
  status?: SubscriptionStatus;
}

export interface SubscriptionStatus {
  /** `UpgradePending`, `AtLatestKnown`. */
  state?: string;
  currentCSV?: string;
  installedCSV?: string;
  installPlanGeneration?: number;
  installPlanRef?: Reference;
  installplan?: Reference;
  conditions?: Condition[];
  lastUpdated?: string;
}

export interface InstallPlan extends KubeObject {
  spec: { approval: Approval; approved: boolean; clusterServiceVersionNames: string[]; generation?: number };
  status?: {
    phase?: 'Planning' | 'RequiresApproval' | 'Installing' | 'Complete' | 'Failed';
    message?: string;
    catalogSources?: string[];
    plan?: Fields[];
    conditions?: Condition[];
    startTime?: string;
  };
}

export interface ClusterServiceVersion extends KubeObject {
  spec: {
    displayName: string;
    version?: string;
    replaces?: string;
    installModes?: { type: string; supported: boolean }[];
    install: { strategy: string; spec?: Fields };
    [field: string]: unknown;
  };
  status?: {
    phase?: string;
    reason?: string;
    message?: string;
    lastUpdateTime?: string;
    lastTransitionTime?: string;
    conditions?: Fields[];
    requirementStatus?: Fields[];
  };
}

const GROUP = 'operators.coreos.com';
const of = <T extends KubeObject>(kind: string, plural: string, version = 'v1alpha1'): ResourceKind<T> => ({
  group: GROUP,
  version,
  kind,
  plural,
  namespaced: true,
});

export const OperatorGroupKind: ResourceKind<OperatorGroup> = of('OperatorGroup', 'operatorgroups', 'v1');
export const CatalogSourceKind: ResourceKind<CatalogSource> = of('CatalogSource', 'catalogsources');
export const SubscriptionKind: ResourceKind<Subscription> = of('Subscription', 'subscriptions');
export const InstallPlanKind: ResourceKind<InstallPlan> = of('InstallPlan', 'installplans');
export const ClusterServiceVersionKind: ResourceKind<ClusterServiceVersion> = of(
  'ClusterServiceVersion',
  'clusterserviceversions',
);
