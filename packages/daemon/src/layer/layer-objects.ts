import type { Node } from '@slipway/api';
import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import { HCO_NAME, HyperConvergedKind, NamespaceKind, OperatorGroupKind, SubscriptionKind } from './layer-kinds.ts';
import type { LayerVariables } from './layer-variables.ts';
import { type PlannedNode, POOL_TAINTS } from './plan-pools.ts';

export const NAMESPACE = 'openshift-cnv';

export interface LayerObject {
  readonly kind: ResourceKind<KubeObject>;
  readonly object: KubeObject;
}

/** Where virtualization runs; undefined for anywhere. Pure. */
export function nodePlacement({ nodeSelector, tolerations }: LayerVariables): object | undefined {
  const placement = {
    ...(Object.keys(nodeSelector).length > 0 && { nodeSelector }),
    ...(tolerations.length > 0 && { tolerations }),
  };
  return Object.keys(placement).length > 0 ? placement : undefined;
}

/** The objects of the layer beside the nodes, in the order in which they are applied. Pure. */
export function layerObjects(variables: LayerVariables): readonly LayerObject[] {
  if (!variables.isEnabled) return [];
  const placement = nodePlacement(variables);
  const section = placement === undefined ? {} : { nodePlacement: placement };
  return [
    {
      kind: NamespaceKind,
      object: {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: NAMESPACE, labels: { 'openshift.io/cluster-monitoring': 'true' } },
      },
    },
    {
      kind: OperatorGroupKind,
      object: of('operators.coreos.com/v1', 'OperatorGroup', 'kubevirt-hyperconverged-group', { targetNamespaces: [NAMESPACE] }),
    },
    {
      kind: SubscriptionKind,
      object: of('operators.coreos.com/v1alpha1', 'Subscription', 'hco-operatorhub', {
        source: 'redhat-operators',
        sourceNamespace: 'openshift-marketplace',
        name: 'kubevirt-hyperconverged',
        channel: 'stable',
        installPlanApproval: 'Automatic',
      }),
    },
    {
      kind: HyperConvergedKind,
      object: of('hco.kubevirt.io/v1beta1', 'HyperConverged', HCO_NAME, { infra: section, workloads: section }),
    },
  ];
}

const of = (apiVersion: string, kind: string, name: string, spec: object): KubeObject =>
  ({ apiVersion, kind, metadata: { name, namespace: NAMESPACE }, spec }) as KubeObject;

/** A node as the layer wants it; its taints are one list, so that those of others stand in it too. */
export const nodeManifest = ({ node, labels, taints, poolTaints }: PlannedNode): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: {
    name: node.metadata.name ?? '',
    labels: { ...labels },
    annotations: { [POOL_TAINTS]: JSON.stringify(poolTaints) },
  },
  ...(taints.length > 0 && { spec: { taints: taints.map((taint) => ({ ...taint })) } }),
});
