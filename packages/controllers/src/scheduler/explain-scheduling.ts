import type { Node, Pod } from '@slipway/api';
import { countUnwantedTaints, matchesNodeAffinity, nodePreference, untoleratedTaint } from './node-selection.ts';
import { type PlacedPod, type PodFacts, podAffinityFilter, podPreference, topologySpreadFilter } from './pod-affinity.ts';
import { claimsTaken, type PodVolumes, volumeFilter } from './pod-volumes.ts';
import { addAmounts, type Amounts, amountsOf, podRequests } from './resources.ts';

export interface SchedulingFacts extends PodFacts {
  readonly volumes: PodVolumes;
}

export interface Refusal {
  readonly node: string;
  readonly reasons: readonly string[];
  /** Removing other pods would help. */
  readonly isForResources: boolean;
}

/** Where a pod can go, best node first, and why not elsewhere. */
export interface SchedulingExplanation {
  readonly feasible: readonly { readonly node: string; readonly score: number }[];
  readonly refusals: readonly Refusal[];
  /** For people, in Kubernetes' words; empty when some node is feasible. */
  readonly message: string;
}

/** Judges every node for a pod. Pure: the scheduler acts on it, and people can ask for it. */
export function explainScheduling(pod: Pod, facts: SchedulingFacts): SchedulingExplanation {
  const { nodes, volumes } = facts;
  if (nodes.length === 0) return { feasible: [], refusals: [], message: 'no nodes available to schedule pods' };
  if (volumes.error) return { feasible: [], refusals: [], message: refusedEverywhere(nodes.length, volumes.error) };
  const byNode = groupByNode(facts.placed);
  const filters = [
    taintFilter(pod),
    affinityFilter(pod),
    topologySpreadFilter(pod, facts),
    podAffinityFilter(pod, facts),
    volumeFilter(volumes),
  ];
  const taken = claimsTaken(pod, volumes, facts.placed);
  const preference = podPreference(pod, facts);
  const refusals: Refusal[] = [];
  const feasible: { node: string; score: number; pods: number }[] = [];
  for (const node of nodes) {
    const name = node.metadata.name ?? '';
    const placed = byNode.get(name) ?? [];
    const reason = firstReason(filters, node);
    const usage = usageOf(node, placed);
    const missing = [...taken, ...missingResources(podRequests(pod), usage)];
    if (reason !== undefined) refusals.push({ node: name, reasons: [reason], isForResources: false });
    else if (missing.length > 0) refusals.push({ node: name, reasons: missing, isForResources: true });
    else feasible.push({ node: name, score: preference(node) + scoreOf(pod, node, usage), pods: placed.length });
  }
  feasible.sort((a, b) => b.score - a.score || a.pods - b.pods || a.node.localeCompare(b.node));
  return { feasible, refusals, message: feasible.length > 0 ? '' : refusalMessage(refusals) };
}

type Filter = (node: Node) => string | undefined;

function firstReason(filters: readonly Filter[], node: Node): string | undefined {
  for (const filter of filters) {
    const reason = filter(node);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

function taintFilter(pod: Pod): Filter {
  return (node) => {
    const taint = untoleratedTaint(pod, node);
    if (taint === undefined) return undefined;
    if (taint.key === 'node.kubernetes.io/unschedulable') return 'node(s) were unschedulable';
    return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`;
  };
}

function affinityFilter(pod: Pod): Filter {
  return (node) => (matchesNodeAffinity(pod, node) ? undefined : "node(s) didn't match Pod's node affinity/selector");
}

function groupByNode(placed: readonly PlacedPod[]): Map<string, Pod[]> {
  const byNode = new Map<string, Pod[]>();
  for (const { pod, node } of placed) {
    const name = node.metadata.name ?? '';
    const pods = byNode.get(name);
    if (pods) pods.push(pod);
    else byNode.set(name, [pod]);
  }
  return byNode;
}

interface Usage {
  readonly allocatable: Amounts;
  readonly used: Amounts;
  readonly pods: number;
}

function usageOf(node: Node, pods: readonly Pod[]): Usage {
  const used = new Map<string, number>();
  for (const pod of pods) addAmounts(used, podRequests(pod));
  return { allocatable: amountsOf(node.status?.allocatable ?? node.status?.capacity), used, pods: pods.length };
}

function missingResources(requests: Amounts, { allocatable, used, pods }: Usage): readonly string[] {
  const missing: string[] = [];
  if (pods + 1 > (allocatable.get('pods') ?? Number.POSITIVE_INFINITY)) missing.push('Too many pods');
  for (const [name, amount] of requests) {
    if (amount > 0 && amount + (used.get(name) ?? 0) > (allocatable.get(name) ?? 0)) missing.push(`Insufficient ${name}`);
  }
  return missing;
}

/** Emptier nodes are better; what the pod prefers counts more. */
function scoreOf(pod: Pod, node: Node, { allocatable, used }: Usage): number {
  const requests = podRequests(pod);
  const free = ['cpu', 'memory'].map((name) => {
    const total = allocatable.get(name) ?? 0;
    return total === 0 ? 0 : Math.max(0, total - (used.get(name) ?? 0) - (requests.get(name) ?? 0)) / total;
  });
  const emptiness = (100 * free.reduce((sum, part) => sum + part, 0)) / free.length;
  return emptiness + 2 * nodePreference(pod, node) - 300 * countUnwantedTaints(pod, node);
}

/** `0/N nodes are available: …`, counting nodes per reason, worded as kube-scheduler does. */
function refusalMessage(refusals: readonly Refusal[]): string {
  const counts = new Map<string, number>();
  for (const { reasons } of refusals) for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const texts = [...counts].map(([reason, count]) => `${count} ${reason}`).sort();
  const total = refusals.length;
  const helpless = refusals.filter(({ isForResources }) => !isForResources).length;
  const preemption = [
    ...(total - helpless > 0 ? [`${total - helpless} No preemption victims found for incoming pod`] : []),
    ...(helpless > 0 ? [`${helpless} Preemption is not helpful for scheduling`] : []),
  ].sort();
  const available = `0/${total} nodes are available:`;
  return `${available} ${texts.join(', ')}. preemption: ${available} ${preemption.join(', ')}.`;
}

function refusedEverywhere(total: number, reason: string): string {
  const available = `0/${total} nodes are available:`;
  return `${available} ${reason}. preemption: ${available} ${total} Preemption is not helpful for scheduling.`;
}
