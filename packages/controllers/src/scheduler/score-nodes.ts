import type { Node, Pod } from '@slipway/api';
import { countUnwantedTaints, nodePreference } from './node-selection.ts';
import { podPreference } from './pod-affinity.ts';
import type { PodFacts } from './pod-facts.ts';
import { addAmounts, amountsOf, podRequests } from './resources.ts';
import { topologySpreadCost } from './topology-spread.ts';

/** What the parts of a score count, as in kube-scheduler's default profile. */
const WEIGHT = { taints: 3, nodeAffinity: 2, topologySpread: 2, podAffinity: 2, room: 1, balance: 1 } as const;
const MOST = 100;

/** The nodes, best first. Among equals the one with the fewest pods, then by name. */
export function scoreNodes(pod: Pod, nodes: readonly Node[], facts: PodFacts): readonly { node: string; score: number }[] {
  if (nodes.length === 0) return [];
  const parts = [
    share(-WEIGHT.taints, nodes, (node) => countUnwantedTaints(pod, node)),
    share(WEIGHT.nodeAffinity, nodes, (node) => nodePreference(pod, node)),
    range(WEIGHT.podAffinity, nodes, podPreference(pod, facts)),
    share(-WEIGHT.topologySpread, nodes, topologySpreadCost(pod, facts)),
  ];
  const usage = usageByNode(facts);
  const scored = nodes.map((node) => {
    const { used, pods } = usage.get(node.metadata.name ?? '') ?? { used: new Map<string, number>(), pods: 0 };
    const fit = fitOf(pod, node, used);
    return { node: node.metadata.name ?? '', score: parts.reduce((sum, part) => sum + part(node), fit), pods };
  });
  scored.sort((a, b) => b.score - a.score || a.pods - b.pods || a.node.localeCompare(b.node));
  return scored.map(({ node, score }) => ({ node, score }));
}

type Raw = ((node: Node) => number) | undefined;
type Part = (node: Node) => number;
const nothing: Part = () => 0;

/** Values in relation to the largest one. A value that is not finite is worse than all others. */
function share(weight: number, nodes: readonly Node[], raw: Raw): Part {
  if (raw === undefined) return nothing;
  const values = nodes.map(raw).filter(Number.isFinite);
  const most = Math.max(0, ...values);
  const beyond = most + Math.min(most, ...values) + 1;
  const unit = (weight * MOST) / Math.max(most, 1);
  return (node) => unit * (Number.isFinite(raw(node)) ? raw(node) : beyond);
}

/** Values, which may be negative, in relation to the distance of the outermost ones. */
function range(weight: number, nodes: readonly Node[], raw: Raw): Part {
  if (raw === undefined) return nothing;
  const values = nodes.map(raw);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return least === most ? nothing : (node) => (weight * MOST * (raw(node) - least)) / (most - least);
}

function usageByNode({ placed }: PodFacts): ReadonlyMap<string, { used: Map<string, number>; pods: number }> {
  const usage = new Map<string, { used: Map<string, number>; pods: number }>();
  for (const { pod, node } of placed) {
    const name = node.metadata.name ?? '';
    const on = usage.get(name) ?? { used: new Map<string, number>(), pods: 0 };
    addAmounts(on.used, podRequests(pod));
    on.pods++;
    usage.set(name, on);
  }
  return usage;
}

/** Emptier nodes are better, and those whose processors and memory are used up alike. */
function fitOf(pod: Pod, node: Node, used: ReadonlyMap<string, number>): number {
  const allocatable = amountsOf(node.status?.allocatable ?? node.status?.capacity);
  const requests = podRequests(pod);
  const [cpu = 1, memory = 1] = ['cpu', 'memory'].map((name) => {
    const total = allocatable.get(name) ?? 0;
    return total === 0 ? 1 : Math.min(1, ((used.get(name) ?? 0) + (requests.get(name) ?? 0)) / total);
  });
  const emptiness = MOST * (1 - (cpu + memory) / 2);
  const balance = MOST * (1 - Math.abs(cpu - memory) / 2);
  return WEIGHT.room * emptiness + WEIGHT.balance * balance;
}
