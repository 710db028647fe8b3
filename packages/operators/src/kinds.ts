import type { Condition, KubeObject, ResourceKind } from '@slipway/apimachinery';
import type { cdi } from '@slipway/api';

/** Fields of a spec whose shape the operators pass on without looking into it. */
export type Fields = Readonly<Record<string, unknown>>;

export interface RelatedObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
}

export interface HyperConverged extends KubeObject {
  /** Grouped as in `v1`. */
  spec?: Fields;
  status?: {
    conditions?: Condition[];
    relatedObjects?: RelatedObject[];
    versions?: { name: string; version: string }[];
    observedGeneration?: number;
    systemHealthStatus?: string;
    infrastructureHighlyAvailable?: boolean;
    nodeInfo?: Fields;
    /** When the built-in boot images are looked for. */
    dataImportSchedule?: string;
    dataImportCronTemplates?: readonly Fields[];
  };
}

export interface Ssp extends KubeObject {
  spec?: Fields;
  status?: {
    phase?: string;
    conditions?: Condition[];
    operatorVersion?: string;
    targetVersion?: string;
    observedVersion?: string;
    observedGeneration?: number;
  };
}

/** `networkaddonsoperator.network.kubevirt.io`. */
export interface NetworkAddonsConfig extends KubeObject {
  spec?: Fields;
  status?: { conditions?: Condition[]; operatorVersion?: string; targetVersion?: string; observedVersion?: string };
}

export interface PriorityClass extends KubeObject {
  value: number;
  globalDefault?: boolean;
  description?: string;
}

export const HyperConvergedKind: ResourceKind<HyperConverged> = {
  group: 'hco.kubevirt.io',
  version: 'v1',
  kind: 'HyperConverged',
  plural: 'hyperconvergeds',
  namespaced: true,
};
export const SspKind: ResourceKind<Ssp> = {
  group: 'ssp.kubevirt.io',
  version: 'v1beta3',
  kind: 'SSP',
  plural: 'ssps',
  namespaced: true,
};
export const NetworkAddonsConfigKind: ResourceKind<NetworkAddonsConfig> = {
  group: 'networkaddonsoperator.network.kubevirt.io',
  version: 'v1',
  kind: 'NetworkAddonsConfig',
  plural: 'networkaddonsconfigs',
  namespaced: false,
};
export const CDIConfigKind: ResourceKind<cdi.CDIConfig> = {
  group: 'cdi.kubevirt.io',
  version: 'v1beta1',
  kind: 'CDIConfig',
  plural: 'cdiconfigs',
  namespaced: false,
};
export const PriorityClassKind: ResourceKind<PriorityClass> = {
  group: 'scheduling.k8s.io',
  version: 'v1',
  kind: 'PriorityClass',
  plural: 'priorityclasses',
  namespaced: false,
};

export const HCO_NAME = 'kubevirt-hyperconverged';
export const KUBEVIRT_NAME = 'kubevirt-kubevirt-hyperconverged';
export const CDI_NAME = 'cdi-kubevirt-hyperconverged';
export const NETWORK_ADDONS_NAME = 'cluster';
export const AAQ_NAME = 'aaq-kubevirt-hyperconverged';
export const SSP_NAME = 'ssp-kubevirt-hyperconverged';
export const HCO_FINALIZER = 'kubevirt.io/hyperconverged';
