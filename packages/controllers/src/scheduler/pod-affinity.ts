import { type LabelSelector, matchesLabels, selectorOf } from '@slipway/apimachinery';
import type { core, Node, Pod } from '@slipway/api';
import { type NodeRefusal, type PlacedPod, type PodFacts, sameLabels } from './pod-facts.ts';

type Term = core.PodAffinityTerm;

/** A term with its selectors made ready for many pods. */
interface ReadyTerm {
  readonly topologyKey: string;
  readonly selects: (pod: Pod) => boolean;
}

/** Without namespaces and selector a term means the namespace of its owner; without a selector of pods it means none. */
function readyTerm(term: Term, owner: Pod, namespace: PodFacts['namespace']): ReadyTerm {
  const base = selectorOf(term.labelSelector);
  const namespaces = selectorOf(term.namespaceSelector);
  if (base === undefined) return { topologyKey: term.topologyKey, selects: () => false };
  const selector: LabelSelector = [
    ...base,
    ...sameLabels(owner, term.matchLabelKeys, 'In'),
    ...sameLabels(owner, term.mismatchLabelKeys, 'NotIn'),
  ];
  const isMeant = (name: string): boolean => {
    if (term.namespaces?.includes(name)) return true;
    if (namespaces !== undefined) return matchesLabels(namespaces, namespace(name)?.metadata.labels ?? {});
    return !term.namespaces?.length && name === owner.metadata.namespace;
  };
  const selects = ({ metadata }: Pod): boolean =>
    matchesLabels(selector, metadata.labels ?? {}) && isMeant(metadata.namespace ?? '');
  return { topologyKey: term.topologyKey, selects };
}

/** Values of a topology key that hold at least one of the pods. */
function domainsOf(topologyKey: string, pods: readonly PlacedPod[]): ReadonlySet<string> {
  return new Set(pods.flatMap(({ node }) => node.metadata.labels?.[topologyKey] ?? []));
}

/** Checks a node against the pod's required terms and against those of the pods that are placed already. */
export function podAffinityFilter(pod: Pod, facts: PodFacts): (node: Node) => NodeRefusal | undefined {
  const ready = (term: Term): ReadyTerm => readyTerm(term, pod, facts.namespace);
  const wanted = (pod.spec?.affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map(ready);
  const unwanted = (pod.spec?.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map(ready);
  // one pod must be meant by all terms: two that are meant by one each do not make company
  const isCompany = (other: Pod): boolean => wanted.every(({ selects }) => selects(other));
  const company = wanted.length === 0 ? [] : facts.placed.filter((other) => isCompany(other.pod));
  const together = wanted.map(({ topologyKey }) => ({ topologyKey, domains: domainsOf(topologyKey, company) }));
  const apart = unwanted.map(({ topologyKey, selects }) => ({
    topologyKey,
    domains: domainsOf(
      topologyKey,
      facts.placed.filter((other) => selects(other.pod)),
    ),
  }));
  const refusing = refusingDomains(pod, facts);
  // the first pod of a group that wants to be together has nobody to go to
  const isFirst = together.every(({ domains }) => domains.size === 0) && isCompany(pod);
  return (node) => {
    const labels = node.metadata.labels ?? {};
    const isTogether = together.every(({ topologyKey, domains }) => {
      const domain = labels[topologyKey];
      return domain !== undefined && (isFirst || domains.has(domain));
    });
    if (!isTogether) return { reason: "node(s) didn't match pod affinity rules", isForPods: false };
    if (apart.some(({ topologyKey, domains }) => domains.has(labels[topologyKey] ?? '')))
      return { reason: "node(s) didn't match pod anti-affinity rules", isForPods: true };
    const isRefused = refusing.some(([key, domain]) => labels[key] === domain);
    return isRefused ? { reason: "node(s) didn't satisfy existing pods anti-affinity rules", isForPods: true } : undefined;
  };
}

/** Topology domains whose pods do not want this pod beside them. */
function refusingDomains(pod: Pod, facts: PodFacts): readonly (readonly [string, string])[] {
  const refusing: (readonly [string, string])[] = [];
  for (const { pod: other, node } of facts.placed) {
    for (const term of other.spec?.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []) {
      const domain = node.metadata.labels?.[term.topologyKey];
      if (domain !== undefined && readyTerm(term, other, facts.namespace).selects(pod)) refusing.push([term.topologyKey, domain]);
    }
  }
  return refusing;
}

/** What a required term of a placed pod is worth to the pods it means. */
const REQUIRED_WEIGHT = 1;

/**
 * Weights of the preferred terms that placing the pod on a node would satisfy, its own and those of placed pods, less those
 * it would hurt; once for each pod that is met. Undefined when nobody prefers anything.
 */
export function podPreference(pod: Pod, facts: PodFacts): ((node: Node) => number) | undefined {
  const worth = new Map<string, Map<string, number>>();
  const add = ({ topologyKey }: ReadyTerm, weight: number, node: Node): void => {
    const domain = node.metadata.labels?.[topologyKey];
    if (domain === undefined) return;
    const byDomain = worth.get(topologyKey) ?? new Map<string, number>();
    byDomain.set(domain, (byDomain.get(domain) ?? 0) + weight);
    worth.set(topologyKey, byDomain);
  };
  const own = preferencesOf(pod, facts);
  for (const { pod: other, node } of facts.placed) {
    for (const { term, weight } of own) if (term.selects(other)) add(term, weight, node);
    if (other.spec?.affinity === undefined) continue;
    const required = other.spec.affinity.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
    const theirs = [
      ...preferencesOf(other, facts),
      ...required.map((term) => ({ term: readyTerm(term, other, facts.namespace), weight: REQUIRED_WEIGHT })),
    ];
    for (const { term, weight } of theirs) if (term.selects(pod)) add(term, weight, node);
  }
  if (worth.size === 0) return undefined;
  return ({ metadata }) =>
    [...worth].reduce((sum, [key, byDomain]) => sum + (byDomain.get(metadata.labels?.[key] ?? '') ?? 0), 0);
}

function preferencesOf(owner: Pod, { namespace }: PodFacts) {
  const { podAffinity, podAntiAffinity } = owner.spec?.affinity ?? {};
  const together = podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  const apart = podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  const ready = (sign: 1 | -1) => (weighted: core.WeightedPodAffinityTerm) => ({
    term: readyTerm(weighted.podAffinityTerm, owner, namespace),
    weight: sign * weighted.weight,
  });
  return [...together.map(ready(1)), ...apart.map(ready(-1))];
}
