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
