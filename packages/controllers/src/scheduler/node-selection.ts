import { matchesLabels } from '@slipway/apimachinery';
import type { core, Node, Pod } from '@slipway/api';

type Term = core.NodeSelectorTerm;
type Requirement = core.NodeSelectorRequirement;

/** Terms are alternatives; the requirements within one must all hold. A selector without terms matches nothing. */
export function matchesNodeSelector(terms: readonly Term[], node: Node): boolean {
  return terms.some((term) => matchesTerm(term, node));
}

function matchesTerm({ matchExpressions = [], matchFields = [] }: Term, node: Node): boolean {
  if (matchExpressions.length === 0 && matchFields.length === 0) return false;
  return (
    matches(matchExpressions, node.metadata.labels ?? {}) && matches(matchFields, { 'metadata.name': node.metadata.name ?? '' })
  );
}

function matches(requirements: readonly Requirement[], labels: Readonly<Record<string, string>>): boolean {
  return requirements.every(({ key, operator, values = [] }) =>
    // the API server admits the operators of label selectors, Gt and Lt
    matchesLabels([{ key, operator: operator as 'In', values }], labels),
  );
}

/** `spec.nodeSelector` and the required node affinity. */
export function matchesNodeAffinity(pod: Pod, node: Node): boolean {
  const labels = node.metadata.labels ?? {};
  if (!Object.entries(pod.spec?.nodeSelector ?? {}).every(([key, value]) => labels[key] === value)) return false;
  const required = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return required === undefined || matchesNodeSelector(required.nodeSelectorTerms, node);
}

/** Sum of the weights of preferred node affinity terms that the node matches. */
export function nodePreference(pod: Pod, node: Node): number {
  const preferred = pod.spec?.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  return preferred.reduce((sum, { preference, weight }) => (matchesTerm(preference, node) ? sum + weight : sum), 0);
}

const CORDONED: core.Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

/** The first taint that keeps the pod away, that of a cordoned node before others; `PreferNoSchedule` never does. */
export function untoleratedTaint(pod: Pod, node: Node): core.Taint | undefined {
  return taintsOf(node).find((taint) => taint.effect !== 'PreferNoSchedule' && !isTolerated(pod, taint));
}

export function countUnwantedTaints(pod: Pod, node: Node): number {
  return taintsOf(node).filter((taint) => taint.effect === 'PreferNoSchedule' && !isTolerated(pod, taint)).length;
}

/** Cordoned nodes count as tainted, also before the taint is there. */
function taintsOf(node: Node): readonly core.Taint[] {
  const taints = node.spec?.taints ?? [];
  return node.spec?.unschedulable ? [CORDONED, ...taints.filter(({ key }) => key !== CORDONED.key)] : taints;
}

export function isTolerated(pod: Pod, taint: core.Taint): boolean {
  return (pod.spec?.tolerations ?? []).some((toleration) => {
    if (toleration.effect && toleration.effect !== taint.effect) return false;
    if (!toleration.key) return toleration.operator === 'Exists';
    if (toleration.key !== taint.key) return false;
    return toleration.operator === 'Exists' || (toleration.value ?? '') === (taint.value ?? '');
  });
}
