import { matchesLabels, parseTime, selectorOf } from '@slipway/apimachinery';
import type { Node, Pod, PodDisruptionBudget } from '@slipway/api';
import { explainScheduling, priorityOf, type Refusal, type SchedulingFacts } from './explain-scheduling.ts';
import type { PlacedPod } from './pod-facts.ts';

export interface Preemption {
  readonly node: string;
  readonly victims: readonly Pod[];
}

/** A way to make room, with what it costs. */
interface Choice extends Preemption {
  /** Victims whose disruption budgets do not allow that they go. */
  readonly violations: number;
}

/**
 * The pods of lower priority whose end makes room for the pod, on the node where they are missed least. Undefined when
 * that helps nowhere, the pod may not preempt, or pods are leaving for it already.
 */
export function planPreemption(pod: Pod, facts: SchedulingFacts, refusals: readonly Refusal[]): Preemption | undefined {
  if (pod.spec?.preemptionPolicy === 'Never' || isMakingRoom(pod, facts)) return undefined;
  const choices = refusals
    .filter(({ isForPods }) => isForPods)
    .flatMap(({ node }) => victimsOn(pod, facts, node) ?? [])
    .sort(compareChoices);
  return choices[0] && { node: choices[0].node, victims: choices[0].victims };
}

/** Whether less important pods are about to leave the node that was made free for this one. */
export function isMakingRoom(pod: Pod, facts: SchedulingFacts): boolean {
  const nominated = pod.status?.nominatedNodeName;
  return !!nominated && lowerOn(pod, facts, nominated).some((other) => other.pod.metadata.deletionTimestamp);
}

/** Kubernetes' order: budgets kept, unimportant victims, few of them, young ones. */
function compareChoices(a: Choice, b: Choice): number {
  return (
    a.violations - b.violations ||
    highest(a) - highest(b) ||
    total(a) - total(b) ||
    a.victims.length - b.victims.length ||
    startOfImportant(b) - startOfImportant(a) ||
    a.node.localeCompare(b.node)
  );
}

const highest = ({ victims }: Preemption): number => Math.max(Number.NEGATIVE_INFINITY, ...victims.map(priorityOf));
/** Each victim counts, also with a negative priority. */
const total = ({ victims }: Preemption): number => victims.reduce((sum, victim) => sum + priorityOf(victim) + 2 ** 31, 0);
const startOf = ({ status, metadata }: Pod): number => parseTime(status?.startTime ?? metadata.creationTimestamp) ?? 0;
const startOfImportant = (choice: Choice): number =>
  Math.min(...choice.victims.filter((victim) => priorityOf(victim) === highest(choice)).map(startOf));

const lowerOn = (pod: Pod, { placed }: SchedulingFacts, node: string): readonly PlacedPod[] =>
  placed.filter((other) => other.node.metadata.name === node && priorityOf(other.pod) < priorityOf(pod));

function victimsOn(pod: Pod, facts: SchedulingFacts, nodeName: string): Choice | undefined {
  const node = facts.nodes.find(({ metadata }) => metadata.name === nodeName);
  const lower = lowerOn(pod, facts, nodeName);
  if (node === undefined || lower.length === 0) return undefined;
  const rest = facts.placed.filter((other) => !lower.includes(other));
  if (!fits(pod, facts, node, rest)) return undefined;
  const important = [...lower].sort((a, b) => priorityOf(b.pod) - priorityOf(a.pod) || startOf(a.pod) - startOf(b.pod));
  const { violating, allowed } = splitByBudgets(important, facts.budgets ?? []);
  let placed = rest;
  const spare = (candidates: readonly PlacedPod[]): readonly Pod[] =>
    candidates.flatMap((other) => {
      if (!fits(pod, facts, node, [...placed, other])) return [other.pod];
      placed = [...placed, other];
      return [];
    });
  // those that are protected, then the most important ones, may stay if there is room for them
  const violated = spare(violating);
  const victims = [...violated, ...spare(allowed)];
  return victims.length === 0 ? undefined : { node: nodeName, victims, violations: violated.length };
}

/** Whom the budgets let go, and whom not: each that goes takes from what its budgets allow. */
function splitByBudgets(pods: readonly PlacedPod[], budgets: readonly PodDisruptionBudget[]) {
  const left = new Map(budgets.map((budget) => [budget, budget.status?.disruptionsAllowed ?? 0]));
  const violating: PlacedPod[] = [];
  const allowed: PlacedPod[] = [];
  for (const other of pods) {
    let isViolating = false;
    for (const budget of budgets.filter((candidate) => covers(candidate, other.pod))) {
      // its eviction was granted before
      if (budget.status?.disruptedPods?.[other.pod.metadata.name ?? ''] !== undefined) continue;
      left.set(budget, (left.get(budget) ?? 0) - 1);
      isViolating ||= (left.get(budget) ?? 0) < 0;
    }
    (isViolating ? violating : allowed).push(other);
  }
  return { violating, allowed };
}

function covers({ metadata, spec }: PodDisruptionBudget, pod: Pod): boolean {
  if (metadata.namespace !== pod.metadata.namespace) return false;
  const selector = selectorOf(spec?.selector);
  return selector !== undefined && matchesLabels(selector, pod.metadata.labels ?? {});
}

/** The node alone is judged, but domains are those of all nodes. */
function fits(pod: Pod, facts: SchedulingFacts, node: Node, placed: readonly PlacedPod[]): boolean {
  const { feasible } = explainScheduling(pod, { ...facts, placed }, [node]);
  return feasible.length > 0;
}
