import type { LabelRequirement } from '@slipway/apimachinery';
import type { Namespace, Node, Pod } from '@slipway/api';

/** A pod that is on a node, or about to be. */
export interface PlacedPod {
  readonly pod: Pod;
  readonly node: Node;
}

/** What a pod's place depends on besides its volumes. */
export interface PodFacts {
  readonly nodes: readonly Node[];
  readonly placed: readonly PlacedPod[];
  readonly namespace: (name: string) => Namespace | undefined;
}

/** Why a node does not take a pod. */
export interface NodeRefusal {
  /** In Kubernetes' words. */
  readonly reason: string;
  /** Ending other pods could change that. */
  readonly isForPods: boolean;
}

/** Requirements that another pod has the owner's values of some labels, or others; keys that the owner lacks say nothing. */
export function sameLabels(owner: Pod, keys: readonly string[] | undefined, operator: 'In' | 'NotIn'): LabelRequirement[] {
  return (keys ?? []).flatMap((key) => {
    const value = owner.metadata.labels?.[key];
    return value === undefined ? [] : [{ key, operator, values: [value] }];
  });
}
