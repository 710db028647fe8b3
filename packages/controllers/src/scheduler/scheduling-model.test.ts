// The scheduler's judgement against a model that places the pod first and then looks whether every rule still holds.
import type { core, Node, Pod } from '@slipway/api';
import { namespace, node, pod } from '@slipway/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { explainScheduling, priorityOf, type SchedulingFacts } from './explain-scheduling.ts';
import { planPreemption } from './plan-preemption.ts';
import type { PlacedPod } from './pod-facts.ts';

const RUNS = { seed: 20_261_121, numRuns: 400 };
const ZONES = ['a', 'b', 'c'];
const APPS = ['web', 'db'];
const NAMESPACES = ['one', 'two'];
const namespaces = new Map(
  NAMESPACES.map((name) => [name, namespace(name, { metadata: { name, labels: { team: name } } }).object]),
);

type Term = core.PodAffinityTerm;
const labelSelector = fc.constantFrom(...APPS).map((app) => ({ matchLabels: { app } }));
const topologyKey = fc.constantFrom('kubernetes.io/hostname', 'zone');
const term: fc.Arbitrary<Term> = fc
  .record({ labelSelector, topologyKey })
  .chain((base) =>
    fc.constantFrom<Term>(
      base,
      { ...base, namespaces: ['two'] },
      { ...base, namespaceSelector: {} },
      { ...base, namespaceSelector: { matchLabels: { team: 'one' } } },
      { ...base, matchLabelKeys: ['app'] },
    ),
  );
const terms = fc.oneof(
  { weight: 2, arbitrary: fc.constant<Term[]>([]) },
  { weight: 1, arbitrary: fc.array(term, { maxLength: 2 }) },
);
const constraint: fc.Arbitrary<core.TopologySpreadConstraint> = fc.record({
  ...{ maxSkew: fc.integer({ min: 1, max: 2 }), topologyKey, labelSelector, whenUnsatisfiable: fc.constant('DoNotSchedule') },
  ...{ nodeAffinityPolicy: fc.constantFrom('Honor', 'Ignore'), nodeTaintsPolicy: fc.constantFrom('Honor', 'Ignore') },
  minDomains: fc.constantFrom(1, 3),
});

const someNode = (name: string): fc.Arbitrary<Node> =>
  fc
    .record({
      zone: fc.option(fc.constantFrom(...ZONES)),
      effect: fc.constantFrom(undefined, 'NoSchedule', 'PreferNoSchedule'),
      cpu: fc.integer({ min: 1, max: 4 }),
    })
    .map(
      ({ zone, effect, cpu }) =>
        node(name, {
          metadata: { name, labels: { ...(zone && { zone }) } },
          spec: { taints: effect === undefined ? [] : [{ key: 'k', value: 'v', effect }] },
          status: { allocatable: { cpu: String(cpu), memory: '8Gi', pods: '10' } },
        }).object,
    );

const somePod = (name: string, isWithSpread: boolean): fc.Arbitrary<Pod> =>
  fc
    .record({
      ...{ app: fc.constantFrom(...APPS), space: fc.constantFrom(...NAMESPACES), cpu: fc.integer({ min: 0, max: 3 }) },
      ...{ zone: fc.option(fc.constantFrom(...ZONES)), isTolerant: fc.boolean(), priority: fc.integer({ min: 0, max: 3 }) },
      ...{ together: isWithSpread ? terms : fc.constant<Term[]>([]), apart: terms },
      spread: isWithSpread ? fc.array(constraint, { maxLength: 2 }) : fc.constant<core.TopologySpreadConstraint[]>([]),
    })
    .map(({ app, space, cpu, zone, isTolerant, priority, together, apart, spread }) => {
      const spec: Partial<NonNullable<Pod['spec']>> = {
        containers: [{ name: 'main', image: 'x', resources: { requests: { cpu: String(cpu) } } }],
        ...{ priority, topologySpreadConstraints: spread },
        ...(zone && { nodeSelector: { zone } }),
        ...(isTolerant && { tolerations: [{ key: 'k', operator: 'Exists' }] }),
        affinity: {
          podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: together },
          podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: apart },
        },
      };
      return pod(`${space}/${name}`, { metadata: { name, namespace: space, uid: name, labels: { app } }, spec }).object;
    });

/** A pod and the cluster it comes to. */
const situation = (isWithSpread: boolean) =>
  fc
    .record({
      nodes: fc.tuple(someNode('n1'), someNode('n2'), someNode('n3')),
      pods: fc.tuple(...['p1', 'p2', 'p3', 'p4'].map((name) => somePod(name, false))),
      places: fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 4, maxLength: 4 }),
      incoming: somePod('new', isWithSpread),
    })
    .map(({ nodes, pods, places, incoming }) => {
      const placed = pods.flatMap((other, index): PlacedPod[] => {
        const place = nodes[places[index] ?? 0];
        return place ? [{ pod: other, node: place }] : [];
      });
      const facts: SchedulingFacts = {
        ...{ nodes, placed, namespace: (name) => namespaces.get(name) },
        volumes: { bound: [], delayed: [] },
      };
      return { facts, incoming };
    });

// ---- the model ----

const cpuOf = ({ spec }: Pod): number => Number(spec?.containers[0]?.resources?.requests?.['cpu'] ?? 0);
const domain = ({ metadata }: Node, key: string): string | undefined => metadata.labels?.[key];
const tolerates = ({ spec }: Pod): boolean => (spec?.tolerations?.length ?? 0) > 0;
const repels = (one: Pod, { spec }: Node): boolean =>
  (spec?.taints ?? []).some(({ effect }) => effect === 'NoSchedule') && !tolerates(one);
const isWanted = ({ spec }: Pod, where: Node): boolean =>
  spec?.nodeSelector?.['zone'] === undefined || spec.nodeSelector['zone'] === domain(where, 'zone');

function means(
  owner: Pod,
  { labelSelector: selector, namespaces: names, namespaceSelector, matchLabelKeys }: Term,
  other: Pod,
): boolean {
  const space = other.metadata.namespace ?? '';
  const team = namespaceSelector?.matchLabels?.['team'];
  const isSpace = names
    ? names.includes(space)
    : namespaceSelector
      ? team === undefined || team === space
      : space === owner.metadata.namespace;
  const app = other.metadata.labels?.['app'];
  const isSame = matchLabelKeys === undefined || app === owner.metadata.labels?.['app'];
  return isSpace && isSame && app === selector?.matchLabels?.['app'];
}

const required = (owner: Pod, which: 'podAffinity' | 'podAntiAffinity'): readonly Term[] =>
  owner.spec?.affinity?.[which]?.requiredDuringSchedulingIgnoredDuringExecution ?? [];

function keepsApart(one: PlacedPod, other: PlacedPod): boolean {
  return required(one.pod, 'podAntiAffinity').every((each) => {
    const here = domain(one.node, each.topologyKey);
    return here === undefined || here !== domain(other.node, each.topologyKey) || !means(one.pod, each, other.pod);
  });
}

function isTogether(self: PlacedPod, others: readonly PlacedPod[]): boolean {
  const wanted = required(self.pod, 'podAffinity');
  if (wanted.length === 0) return true;
  if (wanted.some(({ topologyKey: key }) => domain(self.node, key) === undefined)) return false;
  const company = others.filter((other) => wanted.every((each) => means(self.pod, each, other.pod)));
  const isThere = wanted.every(({ topologyKey: key }) =>
    company.some((other) => domain(other.node, key) === domain(self.node, key)),
  );
  const isNowhere = company.every((other) => wanted.every(({ topologyKey: key }) => domain(other.node, key) === undefined));
  return isThere || (isNowhere && wanted.every((each) => means(self.pod, each, self.pod)));
}

function isSpread(self: PlacedPod, all: readonly PlacedPod[], nodes: readonly Node[]): boolean {
  const constraints = self.pod.spec?.topologySpreadConstraints ?? [];
  return constraints.every((each) => {
    const here = domain(self.node, each.topologyKey);
    if (here === undefined) return false;
    const counted = nodes.filter(
      (one) =>
        constraints.every(({ topologyKey: key }) => domain(one, key) !== undefined) &&
        (each.nodeAffinityPolicy === 'Ignore' || isWanted(self.pod, one)) &&
        (each.nodeTaintsPolicy === 'Ignore' || !repels(self.pod, one)),
    );
    const count = (where: string | undefined): number =>
      all.filter(
        (one) =>
          counted.includes(one.node) &&
          domain(one.node, each.topologyKey) === where &&
          one.pod.metadata.namespace === self.pod.metadata.namespace &&
          one.pod.metadata.labels?.['app'] === each.labelSelector?.matchLabels?.['app'],
      ).length;
    const domains = new Set(counted.map((one) => domain(one, each.topologyKey)));
    const least = domains.size < (each.minDomains ?? 1) ? 0 : Math.min(...[...domains].map(count));
    return count(here) - least <= each.maxSkew;
  });
}

/** Puts the pod on the node and looks at what has become of the cluster. */
function holdsAfter(self: PlacedPod, { placed, nodes }: SchedulingFacts): boolean {
  const here = placed.filter((other) => other.node === self.node);
  const cpu = [...here, self].reduce((sum, one) => sum + cpuOf(one.pod), 0);
  return (
    !repels(self.pod, self.node) &&
    isWanted(self.pod, self.node) &&
    (cpuOf(self.pod) === 0 || cpu <= Number(self.node.status?.allocatable?.['cpu'])) &&
    placed.every((other) => keepsApart(self, other) && keepsApart(other, self)) &&
    isTogether(self, placed) &&
    isSpread(self, [...placed, self], nodes)
  );
}

// ---- what must be true ----

const nameOf = ({ metadata }: Node): string => metadata.name ?? '';

describe('scheduling', () => {
  it('finds the nodes on which no rule would be broken, and no other', () => {
    fc.assert(
      fc.property(situation(true), ({ facts, incoming }) => {
        const { feasible, refusals, message } = explainScheduling(incoming, facts);
        const possible = facts.nodes.filter((one) => holdsAfter({ pod: incoming, node: one }, facts)).map(nameOf);
        expect(feasible.map((one) => one.node).sort()).toEqual(possible.sort());
        expect(refusals.map((one) => one.node).sort()).toEqual(facts.nodes.map(nameOf).filter((one) => !possible.includes(one)));
        expect(message.startsWith('0/3 nodes are available: ')).toBe(possible.length === 0);
      }),
      RUNS,
    );
  });

  it('finds room by ending pods if, and only if, ending all less important ones makes room; and ends no more than it must', () => {
    fc.assert(
      fc.property(situation(false), ({ facts, incoming }) => {
        const { feasible, refusals } = explainScheduling(incoming, facts);
        if (feasible.length > 0) return;
        const fitsWithout = (where: Node, gone: readonly Pod[]): boolean =>
          holdsAfter({ pod: incoming, node: where }, { ...facts, placed: facts.placed.filter((one) => !gone.includes(one.pod)) });
        const lower = (where: Node): Pod[] =>
          facts.placed.filter((one) => one.node === where && priorityOf(one.pod) < priorityOf(incoming)).map((one) => one.pod);
        const plan = planPreemption(incoming, facts, refusals);
        const isPossible = facts.nodes.some((where) => lower(where).length > 0 && fitsWithout(where, lower(where)));
        expect(plan !== undefined).toBe(isPossible);
        const where = facts.nodes.find((one) => nameOf(one) === plan?.node);
        if (plan === undefined || where === undefined) return;
        expect(plan.victims.every((victim) => lower(where).includes(victim))).toBe(true);
        expect(fitsWithout(where, plan.victims)).toBe(true);
        for (const spared of plan.victims)
          expect(
            fitsWithout(
              where,
              plan.victims.filter((victim) => victim !== spared),
            ),
          ).toBe(false);
      }),
      RUNS,
    );
  });

  it('leaves the room that was made for a pod to it, unless another one is more important', () => {
    const [where] = [node('n1', { status: { allocatable: { cpu: '2', pods: '10' } } }).object];
    const wants = (name: string, priority: number) =>
      pod(`one/${name}`, {
        metadata: { name, namespace: 'one', uid: name },
        spec: { priority, containers: [{ name: 'main', image: 'x', resources: { requests: { cpu: '2' } } }] },
      }).object;
    const facts = (nominated: readonly PlacedPod[]): SchedulingFacts => ({
      ...{ nodes: [where], placed: [], nominated, namespace: () => undefined },
      volumes: { bound: [], delayed: [] },
    });
    const waiting = [{ pod: wants('waiting', 5), node: where }];
    const nodesFor = (one: Pod, nominated = waiting) =>
      explainScheduling(one, facts(nominated)).feasible.map((each) => each.node);
    expect(nodesFor(wants('late', 5))).toEqual([]);
    expect(nodesFor(wants('low', 1))).toEqual([]);
    expect(nodesFor(wants('high', 9))).toEqual(['n1']);
    expect(nodesFor(wants('waiting', 5))).toEqual(['n1']);
  });
});
