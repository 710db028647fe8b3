import { matchesLabels, selectorOf } from '@slipway/apimachinery';
import type { core, Namespace, Node, Pod } from '@slipway/api';
import { matchesNodeAffinity } from './node-selection.ts';

type Term = core.PodAffinityTerm;

/** A pod that is on a node, or about to be. */
export interface PlacedPod {
  readonly pod: Pod;
  readonly node: Node;
}

export interface PodFacts {
  readonly nodes: readonly Node[];
  readonly placed: readonly PlacedPod[];
  readonly namespace: (name: string) => Namespace | undefined;
}

/** Values of a topology key that hold at least one pod which a term selects. */
function domainsOf(term: Term, owner: Pod, { placed, namespace }: PodFacts): Set<string> {
  const domains = new Set<string>();
  for (const { pod, node } of placed) {
    const domain = node.metadata.labels?.[term.topologyKey];
    if (domain !== undefined && selects(term, owner, pod, namespace)) domains.add(domain);
  }
  return domains;
}

/** Whether a term of `owner` means `pod`. Without namespaces and selector it means the owner's namespace. */
function selects(term: Term, owner: Pod, pod: Pod, namespace: PodFacts['namespace']): boolean {
  const selector = selectorOf(term.labelSelector as Parameters<typeof selectorOf>[0]);
  if (selector === undefined || !matchesLabels(selector, pod.metadata.labels ?? {})) return false;
  const name = pod.metadata.namespace ?? '';
  if (term.namespaces?.includes(name)) return true;
  if (term.namespaceSelector) {
    const namespaces = selectorOf(term.namespaceSelector as Parameters<typeof selectorOf>[0]);
    return namespaces !== undefined && matchesLabels(namespaces, namespace(name)?.metadata.labels ?? {});
  }
  return !term.namespaces?.length && name === owner.metadata.namespace;
}

/** Checks a node against the pod's required terms and against those of the pods that are placed already. */
export function podAffinityFilter(pod: Pod, facts: PodFacts): (node: Node) => string | undefined {
  const affinity = pod.spec?.affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const anti = pod.spec?.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const wanted = affinity.map((term) => ({ term, domains: domainsOf(term, pod, facts) }));
  const unwanted = anti.map((term) => ({ term, domains: domainsOf(term, pod, facts) }));
  const refusing = refusingDomains(pod, facts);
  // the first pod of a group that wants to be together has nobody to go to
  const isFirst = wanted.every(({ term, domains }) => domains.size === 0 && selects(term, pod, pod, facts.namespace));
  return (node) => {
    const labels = node.metadata.labels ?? {};
    const isWanted = wanted.every(({ term, domains }) => {
      const domain = labels[term.topologyKey];
      return domain !== undefined && (isFirst || domains.has(domain));
    });
    if (!isWanted) return "node(s) didn't match pod affinity rules";
    if (unwanted.some(({ term, domains }) => domains.has(labels[term.topologyKey] ?? ''))) {
      return "node(s) didn't match pod anti-affinity rules";
    }
    const isRefused = refusing.some(([key, domain]) => labels[key] === domain);
    return isRefused ? "node(s) didn't satisfy existing pods anti-affinity rules" : undefined;
  };
}

/** Topology domains whose pods do not want this pod beside them. */
function refusingDomains(pod: Pod, facts: PodFacts): readonly (readonly [string, string])[] {
  const refusing: (readonly [string, string])[] = [];
  for (const { pod: other, node } of facts.placed) {
    for (const term of other.spec?.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []) {
      const domain = node.metadata.labels?.[term.topologyKey];
      if (domain !== undefined && selects(term, other, pod, facts.namespace)) refusing.push([term.topologyKey, domain]);
    }
  }
  return refusing;
}

/** Weights of the preferred terms that placing the pod on a node would satisfy, less those it would hurt. */
export function podPreference(pod: Pod, facts: PodFacts): (node: Node) => number {
  const weighted = [
    ...(pod.spec?.affinity?.podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []),
    ...(pod.spec?.affinity?.podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map((term) => ({
      ...term,
      weight: -term.weight,
    })),
  ].map(({ weight, podAffinityTerm: term }) => ({ weight, key: term.topologyKey, domains: domainsOf(term, pod, facts) }));
  return (node) =>
    weighted.reduce((sum, { weight, key, domains }) => (domains.has(node.metadata.labels?.[key] ?? '') ? sum + weight : sum), 0);
}

/** Checks a node against the pod's topology spread constraints that must hold. */
export function topologySpreadFilter(pod: Pod, facts: PodFacts): (node: Node) => string | undefined {
  const constraints = (pod.spec?.topologySpreadConstraints ?? []).filter(
    ({ whenUnsatisfiable }) => whenUnsatisfiable === 'DoNotSchedule',
  );
  const counted = constraints.map((constraint) => countDomains(constraint, pod, facts));
  return (node) => {
    for (const { constraint, counts, isSelf } of counted) {
      const domain = node.metadata.labels?.[constraint.topologyKey];
      if (domain === undefined) return "node(s) didn't match pod topology spread constraints (missing required label)";
      const least = Math.min(...counts.values());
      const count = (counts.get(domain) ?? 0) + (isSelf ? 1 : 0);
      if (count - least > constraint.maxSkew) return "node(s) didn't match pod topology spread constraints";
    }
    return undefined;
  };
}

function countDomains(constraint: core.TopologySpreadConstraint, pod: Pod, { nodes, placed }: PodFacts) {
  const selector = selectorOf(constraint.labelSelector as Parameters<typeof selectorOf>[0]) ?? [];
  const isSelected = (other: Pod): boolean =>
    other.metadata.namespace === pod.metadata.namespace &&
    other.metadata.deletionTimestamp === undefined &&
    matchesLabels(selector, other.metadata.labels ?? {});
  const counts = new Map<string, number>();
  for (const node of nodes) {
    const domain = node.metadata.labels?.[constraint.topologyKey];
    if (domain !== undefined && matchesNodeAffinity(pod, node)) counts.set(domain, 0);
  }
  for (const { pod: other, node } of placed) {
    const domain = node.metadata.labels?.[constraint.topologyKey] ?? '';
    const count = counts.get(domain);
    if (count !== undefined && isSelected(other)) counts.set(domain, count + 1);
  }
  return { constraint, counts, isSelf: matchesLabels(selector, pod.metadata.labels ?? {}) };
}
