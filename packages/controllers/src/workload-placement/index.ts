import { type KubeVirt, KubeVirtKind, Label, type Node, NodeKind, type Pod } from '@slipway/api';
import { deepEqual, keyOf } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done, type InformerEvent, watchOf } from '@slipway/runtime';
import { matchesNodeAffinity } from '../scheduler/node-selection.ts';

/**
 * Keeps the label by which launcher pods find nodes for guests: `spec.workloads.nodePlacement` of KubeVirt, which
 * HyperConverged writes, says where the part of KubeVirt runs that guests need. Here that is the agent, which is on every
 * node; so the label is all that a placement changes.
 */
export const workloadPlacementController: ControllerRegistration = {
  name: 'workload-placement-controller',
  rules: [...allow('patch', NodeKind)],
  create({ client, informers, log }) {
    const nodes = informers.lister(NodeKind);
    const kubeVirts = informers.lister(KubeVirtKind);
    return {
      kind: NodeKind,
      concurrency: 1,
      watches: [watchOf(KubeVirtKind, () => nodes.list().map(keyOf), hasNewPlacement)],
      reconciler: {
        async reconcile(key, signal) {
          const node = nodes.get(key);
          const current = node?.metadata.labels?.[Label.schedulable];
          // the agent has not been there yet, or the node is of another platform
          if (node === undefined || current === undefined) return done;
          const wanted = String(takesGuests(node, kubeVirts.list()[0]));
          if (current === wanted) return done;
          log.info({ node: key.name, schedulable: wanted }, 'placement of workloads');
          await client.patch(NodeKind, key, { metadata: { labels: { [Label.schedulable]: wanted } } }, { type: 'merge', signal });
          return done;
        },
      },
    };
  },
};

/** Taints play no part: they keep new pods away, and the agent is there already. Pure. */
export function takesGuests(node: Node, kubeVirt: KubeVirt | undefined): boolean {
  const { nodeSelector, affinity } = kubeVirt?.spec?.workloads?.nodePlacement ?? {};
  // judged as a pod, of which only these parts count
  return matchesNodeAffinity({ spec: { ...(nodeSelector && { nodeSelector }), ...(affinity && { affinity }) } } as Pod, node);
}

const hasNewPlacement = ({ type, object, old }: InformerEvent<KubeVirt>): boolean =>
  type !== 'updated' || !deepEqual(object.spec?.workloads, old?.spec?.workloads);
