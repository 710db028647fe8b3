import type { Node, Pod } from '@slipway/api';
import { explainScheduling, type Refusal, type SchedulingFacts } from './explain-scheduling.ts';
import type { PlacedPod } from './pod-affinity.ts';

export interface Preemption {
  readonly node: string;
  readonly victims: readonly Pod[];
}

export const priorityOf = ({ spec }: Pod): number => spec?.priority ?? 0;

/**
 * The pods of lower priority whose end makes room for the pod, on the node where they are missed least. Undefined when
 * that helps nowhere, the pod may not preempt, or pods are leaving for it already.
 */
export function planPreemption(pod: Pod, facts: SchedulingFacts, refusals: readonly Refusal[]): Preemption | undefined {
  if (pod.spec?.preemptionPolicy === 'Never') return undefined;
  const nominated = pod.status?.nominatedNodeName;
  if (nominated && lowerOn(pod, facts, nominated).some((other) => other.pod.metadata.deletionTimestamp)) return undefined;
  const choices = refusals
    .filter(({ isForResources }) => isForResources)
    .flatMap(({ node }) => victimsOn(pod, facts, node) ?? [])
    .sort((a, b) => costOf(a) - costOf(b) || a.victims.length - b.victims.length || a.node.localeCompare(b.node));
  return choices[0];
}

const costOf = ({ victims }: Preemption): number => Math.max(Number.NEGATIVE_INFINITY, ...victims.map(priorityOf));

const lowerOn = (pod: Pod, { placed }: SchedulingFacts, node: string): readonly PlacedPod[] =>
  placed.filter((other) => other.node.metadata.name === node && priorityOf(other.pod) < priorityOf(pod));

function victimsOn(pod: Pod, facts: SchedulingFacts, nodeName: string): Preemption | undefined {
  const node = facts.nodes.find(({ metadata }) => metadata.name === nodeName);
  const lower = lowerOn(pod, facts, nodeName);
  if (node === undefined || lower.length === 0) return undefined;
  let placed = facts.placed.filter((other) => !lower.includes(other));
  if (!fits(pod, facts, node, placed)) return undefined;
  const victims: Pod[] = [];
  // the most important ones may stay if there is room for them
  for (const other of [...lower].sort((a, b) => priorityOf(b.pod) - priorityOf(a.pod))) {
    if (fits(pod, facts, node, [...placed, other])) placed = [...placed, other];
    else victims.push(other.pod);
  }
  return victims.length === 0 ? undefined : { node: nodeName, victims };
}

const fits = (pod: Pod, facts: SchedulingFacts, node: Node, placed: readonly PlacedPod[]): boolean =>
  explainScheduling(pod, { ...facts, nodes: [node], placed }).feasible.length > 0;
