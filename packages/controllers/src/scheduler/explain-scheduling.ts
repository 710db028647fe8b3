import type { core, Node, Pod, PodDisruptionBudget } from '@slipway/api';
import { matchesNodeAffinity, untoleratedTaint } from './node-selection.ts';
import { podAffinityFilter } from './pod-affinity.ts';
import type { NodeRefusal, PlacedPod, PodFacts } from './pod-facts.ts';
import { claimsTaken, type PodVolumes, volumeFilter } from './pod-volumes.ts';
import { addAmounts, type Amounts, amountsOf, podRequests } from './resources.ts';
import { scoreNodes } from './score-nodes.ts';
import { topologySpreadFilter } from './topology-spread.ts';

export interface SchedulingFacts extends PodFacts {
  readonly volumes: PodVolumes;
  /** Pods that wait for room which was made for them on a node. */
  readonly nominated?: readonly PlacedPod[];
  readonly budgets?: readonly PodDisruptionBudget[];
}

export interface Refusal {
  readonly node: string;
  readonly reasons: readonly string[];
  /** Ending other pods could help. */
  readonly isForPods: boolean;
}

/** Where a pod can go, best node first, and why not elsewhere. */
export interface SchedulingExplanation {
  readonly feasible: readonly { readonly node: string; readonly score: number }[];
  readonly refusals: readonly Refusal[];
  /** For people, in Kubernetes' words; empty when some node is feasible. */
  readonly message: string;
}

/**
 * Judges nodes for a pod, by default all of them. Pure: the scheduler acts on it, and people can ask for it.
 */
export function explainScheduling(pod: Pod, facts: SchedulingFacts, nodes: readonly Node[] = facts.nodes): SchedulingExplanation {
  const { volumes } = facts;
  if (nodes.length === 0) return { feasible: [], refusals: [], message: 'no nodes available to schedule pods' };
  if (volumes.error) return refusedEverywhere(nodes, volumes.error);
  const rivals = rivalsOf(pod, facts.nominated);
  const judge = judgeFor(pod, facts);
  // what was nominated may come or not: a node must do in both cases
  const judgeWithRivals = rivals.length === 0 ? undefined : judgeFor(pod, { ...facts, placed: [...facts.placed, ...rivals] });
  const refusals: Refusal[] = [];
  const feasible: Node[] = [];
  for (const node of nodes) {
    const isChosen = rivals.some((rival) => rival.node.metadata.name === node.metadata.name);
    const reasons = (isChosen ? judgeWithRivals?.(node) : undefined) ?? judge(node);
    if (reasons === undefined) feasible.push(node);
    else refusals.push({ node: node.metadata.name ?? '', ...reasons });
  }
  return {
    feasible: scoreNodes(pod, feasible, facts),
    refusals,
    message: feasible.length > 0 ? '' : refusalMessage(pod, refusals),
  };
}

export const priorityOf = ({ spec }: Pod): number => spec?.priority ?? 0;

/** Nominated pods that are not less important: their room is not this pod's. */
const rivalsOf = (pod: Pod, nominated: readonly PlacedPod[] = []): readonly PlacedPod[] =>
  nominated.filter((other) => other.pod.metadata.uid !== pod.metadata.uid && priorityOf(other.pod) >= priorityOf(pod));

type Judgement = Pick<Refusal, 'reasons' | 'isForPods'>;
type Filter = (node: Node) => NodeRefusal | undefined;

/** Asks in the order of kube-scheduler: the first that refuses gives the reason. */
function judgeFor(pod: Pod, facts: SchedulingFacts): (node: Node) => Judgement | undefined {
  const byNode = groupByNode(facts.placed);
  const podsOn = (node: Node): readonly Pod[] => byNode.get(node.metadata.name ?? '') ?? [];
  const before = [taintFilter(pod), affinityFilter(pod), portFilter(pod, podsOn)];
  const volumes = volumeFilter(facts.volumes);
  const after = [(node: Node) => fixed(volumes(node)), topologySpreadFilter(pod, facts), podAffinityFilter(pod, facts)];
  const taken = claimsTaken(pod, facts.volumes, facts.placed);
  const requests = podRequests(pod);
  return (node) => {
    const first = firstRefusal(before, node);
    if (first) return { reasons: [first.reason], isForPods: first.isForPods };
    const missing = [...taken, ...missingResources(requests, node, podsOn(node))];
    if (missing.length > 0) return { reasons: missing, isForPods: true };
    const last = firstRefusal(after, node);
    return last && { reasons: [last.reason], isForPods: last.isForPods };
  };
}

function firstRefusal(filters: readonly Filter[], node: Node): NodeRefusal | undefined {
  for (const filter of filters) {
    const refusal = filter(node);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** Nothing that other pods could change. */
const fixed = (reason: string | undefined): NodeRefusal | undefined =>
  reason === undefined ? undefined : { reason, isForPods: false };

function taintFilter(pod: Pod): Filter {
  return (node) => {
    const taint = untoleratedTaint(pod, node);
    if (taint === undefined) return undefined;
    if (taint.key === 'node.kubernetes.io/unschedulable') return fixed('node(s) were unschedulable');
    return fixed(`node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`);
  };
}

function affinityFilter(pod: Pod): Filter {
  return (node) => fixed(matchesNodeAffinity(pod, node) ? undefined : "node(s) didn't match Pod's node affinity/selector");
}

/** Ports of the node itself, which one pod at a time can have. */
function portFilter(pod: Pod, podsOn: (node: Node) => readonly Pod[]): Filter {
  const wanted = hostPorts(pod);
  if (wanted.length === 0) return () => undefined;
  return (node) => {
    const used = podsOn(node).flatMap(hostPorts);
    const isTaken = wanted.some((port) => used.some((other) => collide(port, other)));
    return isTaken ? { reason: "node(s) didn't have free ports for the requested pod ports", isForPods: true } : undefined;
  };
}

const hostPorts = ({ spec }: Pod): readonly core.ContainerPort[] =>
  (spec?.containers ?? []).flatMap(({ ports = [] }) => ports.filter(({ hostPort }) => hostPort));

function collide(one: core.ContainerPort, other: core.ContainerPort): boolean {
  if (one.hostPort !== other.hostPort || (one.protocol ?? 'TCP') !== (other.protocol ?? 'TCP')) return false;
  const [first, second] = [one.hostIP || '0.0.0.0', other.hostIP || '0.0.0.0'];
  return first === second || first === '0.0.0.0' || second === '0.0.0.0';
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

function missingResources(requests: Amounts, node: Node, pods: readonly Pod[]): readonly string[] {
  const allocatable = amountsOf(node.status?.allocatable ?? node.status?.capacity);
  const used = new Map<string, number>();
  for (const pod of pods) addAmounts(used, podRequests(pod));
  const missing: string[] = [];
  if (pods.length + 1 > (allocatable.get('pods') ?? Number.POSITIVE_INFINITY)) missing.push('Too many pods');
  for (const [name, amount] of requests) {
    if (amount > 0 && amount + (used.get(name) ?? 0) > (allocatable.get(name) ?? 0)) missing.push(`Insufficient ${name}`);
  }
  return missing;
}

/** `0/N nodes are available: …`, counting nodes per reason, worded as kube-scheduler does. */
function refusalMessage(pod: Pod, refusals: readonly Refusal[]): string {
  const counts = new Map<string, number>();
  for (const { reasons } of refusals) for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const texts = [...counts].map(([reason, count]) => `${count} ${reason}`).sort();
  const available = `0/${refusals.length} nodes are available:`;
  return `${available} ${texts.join(', ')}. ${preemptionText(pod, refusals, available)}`;
}

function preemptionText(pod: Pod, refusals: readonly Refusal[], available: string): string {
  if (pod.spec?.preemptionPolicy === 'Never') return 'preemption: not eligible due to preemptionPolicy=Never.';
  const total = refusals.length;
  const helpless = refusals.filter(({ isForPods }) => !isForPods).length;
  const parts = [
    ...(total - helpless > 0 ? [`${total - helpless} No preemption victims found for incoming pod`] : []),
    ...(helpless > 0 ? [`${helpless} Preemption is not helpful for scheduling`] : []),
  ].sort();
  return `preemption: ${available} ${parts.join(', ')}.`;
}

function refusedEverywhere(nodes: readonly Node[], reason: string): SchedulingExplanation {
  const available = `0/${nodes.length} nodes are available:`;
  const message = `${available} ${reason}. preemption: ${available} ${nodes.length} Preemption is not helpful for scheduling.`;
  return { feasible: [], refusals: [], message };
}
