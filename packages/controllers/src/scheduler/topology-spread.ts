import { matchesLabels, selectorOf } from '@slipway/apimachinery';
import type { core, Node, Pod } from '@slipway/api';
import { matchesNodeAffinity, untoleratedTaint } from './node-selection.ts';
import { type NodeRefusal, type PodFacts, sameLabels } from './pod-facts.ts';

type Constraint = core.TopologySpreadConstraint;

/** How many pods that a constraint selects each domain holds. */
interface Spread {
  readonly constraint: Constraint;
  readonly counts: ReadonlyMap<string, number>;
  /** The pod itself counts where it is placed. */
  readonly isSelf: boolean;
}

const MISMATCH = "node(s) didn't match pod topology spread constraints";

/** Checks a node against the pod's topology spread constraints that must hold. */
export function topologySpreadFilter(pod: Pod, facts: PodFacts): (node: Node) => NodeRefusal | undefined {
  const constraints = constraintsOf(pod, 'DoNotSchedule');
  const spreads = constraints.map((constraint) => countDomains(constraint, constraints, pod, facts));
  return (node) => {
    for (const { constraint, counts, isSelf } of spreads) {
      const domain = node.metadata.labels?.[constraint.topologyKey];
      if (domain === undefined) return { reason: `${MISMATCH} (missing required label)`, isForPods: false };
      const least = leastOf(counts, constraint.minDomains);
      const count = (counts.get(domain) ?? 0) + (isSelf ? 1 : 0);
      if (count - least > constraint.maxSkew) return { reason: MISMATCH, isForPods: true };
    }
    return undefined;
  };
}

/** With fewer domains than there shall be, the ones that are missing count as empty. */
function leastOf(counts: ReadonlyMap<string, number>, minDomains = 1): number {
  return counts.size < minDomains ? 0 : Math.min(...counts.values());
}

/** Pods that constraints which only wish for something count in the node's domains; fewer is better. */
export function topologySpreadCost(pod: Pod, facts: PodFacts): ((node: Node) => number) | undefined {
  const constraints = constraintsOf(pod, 'ScheduleAnyway');
  if (constraints.length === 0) return undefined;
  const spreads = constraints.map((constraint) => countDomains(constraint, constraints, pod, facts));
  return (node) =>
    spreads.reduce((sum, { constraint, counts }) => {
      const domain = node.metadata.labels?.[constraint.topologyKey];
      // a node without the label is in no domain: it is the last choice
      if (domain === undefined) return Number.POSITIVE_INFINITY;
      // many small domains weigh more than few large ones
      return sum + (counts.get(domain) ?? 0) * Math.log(counts.size + 2) + constraint.maxSkew - 1;
    }, 0);
}

const constraintsOf = ({ spec }: Pod, when: string): readonly Constraint[] =>
  (spec?.topologySpreadConstraints ?? []).filter(({ whenUnsatisfiable }) => whenUnsatisfiable === when);

function countDomains(constraint: Constraint, all: readonly Constraint[], pod: Pod, { nodes, placed }: PodFacts): Spread {
  const isSelected = selectedBy(constraint, pod);
  const counts = new Map<string, number>();
  const counted = new Set<string>();
  for (const node of nodes) {
    const domain = node.metadata.labels?.[constraint.topologyKey];
    if (domain === undefined || !isCounted(node, constraint, all, pod)) continue;
    counts.set(domain, 0);
    counted.add(node.metadata.name ?? '');
  }
  for (const { pod: other, node } of placed) {
    if (!counted.has(node.metadata.name ?? '') || !isSelected(other)) continue;
    if (other.metadata.namespace !== pod.metadata.namespace || other.metadata.deletionTimestamp !== undefined) continue;
    const domain = node.metadata.labels?.[constraint.topologyKey] ?? '';
    counts.set(domain, (counts.get(domain) ?? 0) + 1);
  }
  return { constraint, counts, isSelf: isSelected(pod) };
}

/** Nodes count that have the labels of all constraints and, as the policies say, those where the pod could be at all. */
function isCounted(node: Node, constraint: Constraint, all: readonly Constraint[], pod: Pod): boolean {
  const labels = node.metadata.labels ?? {};
  if (!all.every(({ topologyKey }) => labels[topologyKey] !== undefined)) return false;
  if (constraint.nodeAffinityPolicy !== 'Ignore' && !matchesNodeAffinity(pod, node)) return false;
  return constraint.nodeTaintsPolicy !== 'Honor' || untoleratedTaint(pod, node) === undefined;
}

/** A constraint without a selector selects nothing. */
function selectedBy({ labelSelector, matchLabelKeys }: Constraint, owner: Pod): (pod: Pod) => boolean {
  const selector = selectorOf(labelSelector);
  if (selector === undefined) return () => false;
  const whole = [...selector, ...sameLabels(owner, matchLabelKeys, 'In')];
  return ({ metadata }) => matchesLabels(whole, metadata.labels ?? {});
}
