import { formatTime, isNotFound, keyOf, keyString, parseTime } from '@slipway/apimachinery';
import { type core, type Node, NodeKind, type Pod, PodKind } from '@slipway/api';
import {
  allow,
  after,
  type ControllerDeps,
  type ControllerRegistration,
  done,
  type InformerEvent,
  watchOf,
} from '@slipway/runtime';
import { FencingAnnotation, UNREACHABLE_TAINT } from '@slipway/virt';
import { isTolerated } from '../scheduler/node-selection.ts';
import { isFinished } from '../scheduler/resources.ts';

const BY_NODE = 'taint-eviction/node';

/** Ends pods on nodes with a `NoExecute` taint that they do not tolerate, or tolerate only for a time. */
export const taintEvictionController: ControllerRegistration = {
  name: 'taint-eviction-controller',
  rules: [...allow('delete', PodKind), ...allow('patch', [PodKind, 'status'])],
  create(deps) {
    const { clock, informers } = deps;
    const pods = informers.for(PodKind);
    const nodes = informers.lister(NodeKind);
    pods.addIndex(BY_NODE, (pod) => (pod.spec?.nodeName ? [pod.spec.nodeName] : []));
    /** When a pod was first seen with a taint, by key: most taints do not say when they came. */
    const since = new Map<string, number>();
    const taintedOf = (pod: Pod): readonly core.Taint[] =>
      taintsForPod(pod, nodes.get({ namespace: '', name: pod.spec?.nodeName ?? '' }));
    return {
      kind: PodKind,
      // nearly every pod is on a node without such taints
      predicate: ({ object }) => taintedOf(object as Pod).length > 0, // the kind's own objects
      watches: [watchOf(NodeKind, ({ metadata }) => pods.lister.byIndex(BY_NODE, metadata.name ?? '').map(keyOf), hasNewTaints)],
      reconciler: {
        async reconcile(key, signal) {
          const pod = pods.lister.get(key);
          const taints = pod === undefined ? [] : taintedOf(pod);
          if (pod === undefined || pod.metadata.deletionTimestamp || isFinished(pod) || taints.length === 0) {
            since.delete(keyString(key));
            return done;
          }
          const sinceMs = since.get(keyString(key)) ?? clock.now();
          since.set(keyString(key), sinceMs);
          const leftMs = stayMs(pod, taints, sinceMs, clock.now());
          if (leftMs === undefined) return done;
          if (leftMs > 0) return after(leftMs);
          await evict(deps, pod, signal);
          return done;
        },
      },
    };
  },
};

/**
 * Only what a lost node has promised to end can be started elsewhere. The rest would be ended when the node comes back, for
 * nothing: disks that only this node has, for example.
 */
function taintsForPod(pod: Pod, node: Node | undefined): readonly core.Taint[] {
  const taints = noExecuteTaints(node);
  const isOurs = node?.metadata.annotations?.[FencingAnnotation.node] !== undefined;
  if (!isOurs || pod.metadata.annotations?.[FencingAnnotation.pod] !== undefined) return taints;
  return taints.filter(({ key }) => key !== UNREACHABLE_TAINT);
}

const noExecuteTaints = (node: Node | undefined): readonly core.Taint[] =>
  (node?.spec?.taints ?? []).filter(({ effect }) => effect === 'NoExecute');

const hasNewTaints = ({ type, object, old }: InformerEvent<Node>): boolean =>
  type === 'added' || (type === 'updated' && JSON.stringify(noExecuteTaints(object)) !== JSON.stringify(noExecuteTaints(old)));

/** How long the pod may stay: 0 not at all, undefined for good. Counted from when a taint came, if it says. */
export function stayMs(pod: Pod, taints: readonly core.Taint[], firstSeenMs: number, nowMs: number): number | undefined {
  const stays = taints.map((taint) => {
    const tolerations = (pod.spec?.tolerations ?? []).filter(
      (toleration) => isTolerated({ spec: { tolerations: [toleration] } } as Pod, taint), // judged by this part alone
    );
    if (tolerations.length === 0) return 0;
    const seconds = tolerations.flatMap(({ tolerationSeconds }) => tolerationSeconds ?? []);
    if (seconds.length === 0) return undefined;
    const sinceMs = parseTime(taint.timeAdded) ?? firstSeenMs;
    return Math.max(0, sinceMs + Math.max(0, Math.min(...seconds)) * 1000 - nowMs);
  });
  const bounded = stays.filter((stay) => stay !== undefined);
  return bounded.length === 0 ? undefined : Math.min(...bounded);
}

async function evict({ client, clock, events }: ControllerDeps, pod: Pod, signal: AbortSignal): Promise<void> {
  const condition = {
    type: 'DisruptionTarget',
    status: 'True',
    reason: 'DeletionByTaintManager',
    message: 'Taint manager: deleting due to NoExecute taint',
    lastTransitionTime: formatTime(clock.now()),
  };
  try {
    const patch = { status: { conditions: [condition] } };
    await client.patch(PodKind, keyOf(pod), patch, { type: 'strategic', subresource: 'status', signal });
    events.normal(pod, 'TaintManagerEviction', `Marking for deletion Pod ${pod.metadata.namespace}/${pod.metadata.name}`);
    await client.delete(PodKind, keyOf(pod), { preconditions: { uid: pod.metadata.uid ?? '' }, signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
