import { deepEqual, formatTime, type ObjectKey } from '@slipway/apimachinery';
import { LeaseKind, type Node, NodeKind } from '@slipway/api';
import { allow, after, type ControllerRegistration, done, watchOf } from '@slipway/runtime';
import { NODE_MONITOR_GRACE_SECONDS } from '@slipway/virt';
import { type Heartbeat, heartbeat, taintsFor, unknownConditions } from './node-health.ts';

const LEASE_NAMESPACE = 'kube-node-lease';

/** Marks nodes whose agent fell silent, and keeps new pods from nodes that are not ready. */
export const nodeLifecycleController: ControllerRegistration = {
  name: 'node-lifecycle-controller',
  rules: [...allow('update', NodeKind, [NodeKind, 'status'])],
  create({ client, events, clock, informers, settings }) {
    const graceMs = (settings.nodeMonitorGraceSeconds ?? NODE_MONITOR_GRACE_SECONDS) * 1000;
    const nodes = informers.lister(NodeKind);
    const leases = informers.lister(LeaseKind);
    const heartbeats = new Map<string, Heartbeat>();

    const markUnknown = async (node: Node, signal: AbortSignal): Promise<Node> => {
      const conditions = unknownConditions(node, formatTime(clock.now()));
      const next = { ...node, status: { ...node.status, conditions: [...(conditions ?? [])] } } as Node;
      events.normal(node, 'NodeNotReady', `Node ${node.metadata.name} status is now: NodeNotReady`);
      return client.update(NodeKind, next, { subresource: 'status', signal });
    };

    return {
      kind: NodeKind,
      watches: [
        watchOf(LeaseKind, ({ metadata }): readonly ObjectKey[] =>
          metadata.namespace === LEASE_NAMESPACE ? [{ namespace: '', name: metadata.name ?? '' }] : [],
        ),
      ],
      concurrency: 1,
      reconciler: {
        async reconcile({ name }, signal) {
          let node = nodes.get({ namespace: '', name });
          if (node === undefined) {
            heartbeats.delete(name);
            return done;
          }
          const beat = heartbeat(heartbeats.get(name), leases.get({ namespace: LEASE_NAMESPACE, name }), node, clock.now());
          heartbeats.set(name, beat);
          const silentMs = clock.now() - beat.seenMs;
          const ready = node.status?.conditions?.find(({ type }) => type === 'Ready');
          // without a Ready condition the agent has not registered yet
          if (silentMs >= graceMs && ready && ready.status !== 'Unknown') node = await markUnknown(node, signal);
          const taints = taintsFor(node, formatTime(clock.now()));
          if (ready && !deepEqual(taints, node.spec?.taints ?? [])) {
            await client.update(NodeKind, { ...node, spec: { ...node.spec, taints: [...taints] } }, { signal });
          }
          return silentMs >= graceMs ? done : after(graceMs - silentMs);
        },
      },
    };
  },
};
