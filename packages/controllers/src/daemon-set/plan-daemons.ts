import type { core, DaemonSet, Node, Pod } from '@slipway/api';
import { isTolerated, matchesNodeAffinity } from '../scheduler/node-selection.ts';
import { scaledValue } from '../workload/int-or-percent.ts';
import { isAvailable, isFinished, isPodReady } from '../workload/pod-state.ts';
import { REVISION_LABEL } from '../workload/revision-history.ts';

type Status = NonNullable<DaemonSet['status']>;

const NO_EXECUTE = ['not-ready', 'unreachable'];
const NO_SCHEDULE = ['disk-pressure', 'memory-pressure', 'pid-pressure', 'unschedulable'];

/** Daemons stay on nodes in trouble, and go to cordoned ones. */
export function daemonTolerations(spec: core.PodSpec | undefined): core.Toleration[] {
  const onNode = (names: readonly string[], effect: 'NoExecute' | 'NoSchedule') =>
    names.map((name) => ({ key: `node.kubernetes.io/${name}`, operator: 'Exists' as const, effect }));
  return [
    ...(spec?.tolerations ?? []),
    ...onNode(NO_EXECUTE, 'NoExecute'),
    ...onNode(NO_SCHEDULE, 'NoSchedule'),
    ...(spec?.hostNetwork ? onNode(['network-unavailable'], 'NoSchedule') : []),
  ];
}

/** The node that a daemon is for: where it runs, or where its affinity sends it. */
export function nodeNameOf({ spec }: Pod): string {
  if (spec?.nodeName) return spec.nodeName;
  const terms = spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  return terms[0]?.matchFields?.find(({ key }) => key === 'metadata.name')?.values?.[0] ?? '';
}

/** Affinity that sends a daemon to its node, and nowhere else. */
export function affinityFor(affinity: core.Affinity | undefined, node: string): core.Affinity {
  const terms = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [{}];
  const matchFields = [{ key: 'metadata.name', operator: 'In', values: [node] }];
  return {
    ...affinity,
    nodeAffinity: {
      ...affinity?.nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: terms.map((term) => ({ ...term, matchFields })),
      },
    },
  };
}

/** Whether a daemon should start on the node, and whether one that is there may stay. */
export function daemonFits({ spec }: DaemonSet, node: Node): { readonly starts: boolean; readonly stays: boolean } {
  const podSpec = spec?.template.spec;
  const tolerations = daemonTolerations(podSpec);
  // judged as a pod, of which only these parts count
  const pod = { spec: { ...podSpec, tolerations } } as Pod;
  const { nodeName } = podSpec ?? {};
  if ((nodeName && nodeName !== node.metadata.name) || !matchesNodeAffinity(pod, node)) return { starts: false, stays: false };
  const taints = (node.spec?.taints ?? []).filter((taint) => !isTolerated(pod, taint));
  const stays = !taints.some(({ effect }) => effect === 'NoExecute');
  return { starts: stays && !taints.some(({ effect }) => effect === 'NoSchedule'), stays };
}

export interface DaemonPlan {
  /** Names of nodes. */
  readonly create: readonly string[];
  readonly remove: readonly Pod[];
}

export interface DaemonFacts {
  readonly nodes: readonly Node[];
  readonly pods: readonly Pod[];
  /** Hash of the template as it is now. */
  readonly hash: string;
  readonly nowMs: number;
}

const isTerminating = (pod: Pod): boolean => Boolean(pod.metadata.deletionTimestamp);
const byAge = (a: Pod, b: Pod): number => (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? '');

function podsByNode(pods: readonly Pod[]): ReadonlyMap<string, readonly Pod[]> {
  const byNode = new Map<string, Pod[]>();
  for (const pod of pods) byNode.set(nodeNameOf(pod), [...(byNode.get(nodeNameOf(pod)) ?? []), pod]);
  return byNode;
}

/** One working pod on each node that fits, none elsewhere; then those of an older template, as many at once as may be. */
export function planDaemons(set: DaemonSet, facts: DaemonFacts): DaemonPlan {
  const byNode = podsByNode(facts.pods);
  const create: string[] = [];
  const remove: Pod[] = [];
  for (const node of facts.nodes) {
    const name = node.metadata.name ?? '';
    const fits = daemonFits(set, node);
    const here = byNode.get(name) ?? [];
    const staying = here.filter((pod) => !isTerminating(pod));
    const [keep, ...surplus] = staying.filter((pod) => !isFinished(pod)).sort(byAge);
    if (!fits.stays) remove.push(...staying);
    else {
      remove.push(...staying.filter(isFinished), ...surplus);
      if (fits.starts && !keep && here.length === 0) create.push(name);
    }
  }
  const known = new Set(facts.nodes.map(({ metadata }) => metadata.name));
  for (const [name, pods] of byNode) if (!known.has(name)) remove.push(...pods.filter((pod) => !isTerminating(pod)));
  if (create.length > 0 || remove.length > 0) return { create, remove };
  return { create, remove: planUpdate(set, facts, byNode) };
}

function planUpdate(
  set: DaemonSet,
  { nodes, hash, nowMs }: DaemonFacts,
  byNode: ReadonlyMap<string, readonly Pod[]>,
): readonly Pod[] {
  const { updateStrategy, minReadySeconds = 0 } = set.spec ?? {};
  if (updateStrategy?.type === 'OnDelete') return [];
  const wanted = nodes.filter((node) => daemonFits(set, node).starts);
  const { maxUnavailable, maxSurge } = updateStrategy?.rollingUpdate ?? {};
  // a surge is taken as unavailability: the old pod goes first
  const limit = Math.max(
    1,
    scaledValue(maxUnavailable, wanted.length, true) ?? 1,
    scaledValue(maxSurge, wanted.length, true) ?? 0,
  );
  const here = wanted.map(({ metadata }) => (byNode.get(metadata.name ?? '') ?? []).find((pod) => !isTerminating(pod)));
  const works = (pod: Pod | undefined): boolean => pod !== undefined && isAvailable(pod, minReadySeconds, nowMs);
  const old = here.filter((pod) => pod !== undefined && pod.metadata.labels?.[REVISION_LABEL] !== hash) as Pod[]; // filtered
  const unavailable = here.filter((pod) => !works(pod)).length;
  const useless = old.filter((pod) => !works(pod));
  return [...useless, ...old.filter(works).slice(0, Math.max(0, limit - unavailable))];
}

/** `status` for these pods and nodes. */
export function daemonSetStatus(set: DaemonSet, { nodes, pods, hash, nowMs }: DaemonFacts): Status {
  const byNode = podsByNode(pods.filter((pod) => !isTerminating(pod) && !isFinished(pod)));
  const here = nodes.map((node) => ({
    isWanted: daemonFits(set, node).starts,
    pod: [...(byNode.get(node.metadata.name ?? '') ?? [])].sort(byAge)[0],
  }));
  const wanted = here.filter(({ isWanted }) => isWanted);
  const count = (matches: (pod: Pod) => boolean): number => wanted.filter(({ pod }) => pod !== undefined && matches(pod)).length;
  const updated = count((pod) => pod.metadata.labels?.[REVISION_LABEL] === hash);
  const available = count((pod) => isAvailable(pod, set.spec?.minReadySeconds ?? 0, nowMs));
  const unavailable = wanted.length - available;
  return {
    desiredNumberScheduled: wanted.length,
    currentNumberScheduled: count(() => true),
    numberMisscheduled: here.filter(({ isWanted, pod }) => !isWanted && pod !== undefined).length,
    numberReady: count(isPodReady),
    ...(updated > 0 && { updatedNumberScheduled: updated }),
    ...(available > 0 && { numberAvailable: available }),
    ...(unavailable > 0 && { numberUnavailable: unavailable }),
    observedGeneration: set.metadata.generation ?? 0,
  };
}
