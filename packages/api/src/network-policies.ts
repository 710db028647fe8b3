import type { KubeObject, LabelSelectorObject } from '@slipway/apimachinery';

/** Which traffic pods may have; see networking.k8s.io/v1. */
export interface NetworkPolicy extends KubeObject {
  spec?: {
    /** Empty: every pod of the namespace. */
    podSelector?: LabelSelectorObject;
    policyTypes?: ('Ingress' | 'Egress')[];
    ingress?: { from?: NetworkPolicyPeer[]; ports?: NetworkPolicyPort[] }[];
    egress?: { to?: NetworkPolicyPeer[]; ports?: NetworkPolicyPort[] }[];
  };
}

/** Annotation of a MultiNetworkPolicy: the networks that it is for, `namespace/name` or names in its own namespace, by commas. */
export const POLICY_FOR_ANNOTATION = 'k8s.v1.cni.cncf.io/policy-for';

/** The same for networks that CNI attaches to pods; see `k8s.cni.cncf.io/v1beta1`. */
export type MultiNetworkPolicy = NetworkPolicy;

export interface NetworkPolicyPeer {
  podSelector?: LabelSelectorObject;
  namespaceSelector?: LabelSelectorObject;
  ipBlock?: { cidr: string; except?: string[] };
}

export interface NetworkPolicyPort {
  protocol?: 'TCP' | 'UDP' | 'SCTP';
  /** Number, or name of a port of the pod that is the destination; absent: all. */
  port?: number | string;
  /** Last of a range that begins with `port`. */
  endPort?: number;
}
