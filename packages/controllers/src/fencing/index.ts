import { LeaseKind, NodeKind, type Pod, PodKind } from '@slipway/api';
import { isNotFound, keyOf, type ObjectKey } from '@slipway/apimachinery';
import { allow, after, type ControllerRegistration, done, watchOf } from '@slipway/runtime';
import { type Heartbeat, heartbeat } from '../node-lifecycle/node-health.ts';
import { planFencing } from './plan-fencing.ts';

const LEASE_NAMESPACE = 'kube-node-lease';
const BY_NODE = 'fencing/node';

/**
 * Removes pods of lost nodes whose guests are known to have ended: then, and only then, their VMs start elsewhere. The node
 * has promised to end them when its lease is not renewed (docs/decisions/0014).
 */
export const fencingController: ControllerRegistration = {
  name: 'fencing-controller',
  rules: [...allow('delete', PodKind)],
  create({ client, clock, events, informers, log }) {
    const nodes = informers.lister(NodeKind);
    const leases = informers.lister(LeaseKind);
    const pods = informers.for(PodKind);
    const heartbeats = new Map<string, Heartbeat>();
    pods.addIndex(BY_NODE, (pod) => (pod.spec?.nodeName && pod.metadata.deletionTimestamp ? [pod.spec.nodeName] : []));

    const remove = async (pod: Pod, why: string, signal: AbortSignal): Promise<void> => {
      log.warn({ pod: `${pod.metadata.namespace}/${pod.metadata.name}`, node: pod.spec?.nodeName, why }, 'removing pod');
      try {
        const preconditions = { uid: pod.metadata.uid ?? '' };
        await client.delete(PodKind, keyOf(pod), { gracePeriodSeconds: 0, preconditions, signal });
        events.warning(pod, 'NodeFenced', `The pod is removed: ${why}`);
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    };

    return {
      kind: NodeKind,
      concurrency: 1,
      watches: [
        watchOf(LeaseKind, ({ metadata }): readonly ObjectKey[] =>
          metadata.namespace === LEASE_NAMESPACE ? [{ namespace: '', name: metadata.name ?? '' }] : [],
        ),
        watchOf(PodKind, ({ spec, metadata }): readonly ObjectKey[] =>
          spec?.nodeName && metadata.deletionTimestamp ? [{ namespace: '', name: spec.nodeName }] : [],
        ),
      ],
      reconciler: {
        async reconcile({ name }, signal) {
          const node = nodes.get({ namespace: '', name });
          if (node === undefined) {
            heartbeats.delete(name);
            return done;
          }
          const beat = heartbeat(heartbeats.get(name), leases.get({ namespace: LEASE_NAMESPACE, name }), node, clock.now());
          heartbeats.set(name, beat);
          const plan = planFencing({ node, pods: pods.lister.byIndex(BY_NODE, name), silentMs: clock.now() - beat.seenMs });
          for (const { pod, why } of plan.remove) await remove(pod, why, signal);
          return plan.retryInMs === undefined ? done : after(plan.retryInMs);
        },
      },
    };
  },
};
