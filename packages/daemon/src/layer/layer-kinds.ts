import type { Condition, KubeObject, ResourceKind } from '@slipway/apimachinery';
import { HyperConvergedKind as StoredKind } from '@slipway/operators';

export { NamespaceKind } from '@slipway/api';
export {
  type ClusterServiceVersion,
  ClusterServiceVersionKind,
  HCO_NAME,
  OperatorGroupKind,
  type Subscription,
  SubscriptionKind,
} from '@slipway/operators';

/** In the flat layout, which clients of all ages know. */
export interface FlatHyperConverged extends KubeObject {
  spec?: {
    infra?: { nodePlacement?: object };
    workloads?: { nodePlacement?: object };
  };
  status?: { conditions?: Condition[]; observedGeneration?: number };
}

export const HyperConvergedKind: ResourceKind<FlatHyperConverged> = { ...StoredKind, version: 'v1beta1' };
