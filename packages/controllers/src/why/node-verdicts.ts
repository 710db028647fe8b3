import { Label, type Node, type Pod } from '@slipway/api';
import { explainScheduling, type SchedulingFacts } from '../scheduler/explain-scheduling.ts';
import { isTolerated, matchesNodeAffinity } from '../scheduler/node-selection.ts';
import { addAmounts, amountsOf, podRequests } from '../scheduler/resources.ts';

/** What one node says to a pod. */
export interface NodeVerdict {
  readonly node: string;
  /** As kubectl shows it: `Ready`, `NotReady`, `Ready,SchedulingDisabled`. */
  readonly status: string;
  readonly isPossible: boolean;
  /** In the words of the scheduler's event; empty when the node is possible. */
  readonly reasons: readonly string[];
  /** The same with names and numbers of this node. */
  readonly details: readonly string[];
}

/** Every node with its reason, and the scheduler's message about all of them (empty when some node can take the pod). Pure. */
export function nodeVerdicts(
  pod: Pod,
  facts: SchedulingFacts,
): { readonly verdicts: readonly NodeVerdict[]; readonly message: string } {
  const { refusals, feasible, message } = explainScheduling(pod, facts);
  const everywhere = facts.volumes.error;
  const verdicts = [...facts.nodes]
    .sort((a, b) => nameOf(a).localeCompare(nameOf(b)))
    .map((node): NodeVerdict => {
      const base = { node: nameOf(node), status: nodeStatusText(node) };
      if (feasible.some((each) => each.node === base.node)) return { ...base, isPossible: true, reasons: [], details: [] };
      const reasons = everywhere === undefined ? refusals.find((each) => each.node === base.node)?.reasons : [everywhere];
      return { ...base, isPossible: false, reasons: reasons ?? [], details: detailsOf(pod, node, facts) };
    });
  return { verdicts, message };
}

const nameOf = ({ metadata }: Node): string => metadata.name ?? '';

/** The STATUS column of `kubectl get nodes`. */
export function nodeStatusText({ status, spec }: Node): string {
  const isReady = status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
  return `${isReady ? 'Ready' : 'NotReady'}${spec?.unschedulable ? ',SchedulingDisabled' : ''}`;
}

/** All that stands in the way and can be told of one node; the scheduler stops at the first. */
function detailsOf(pod: Pod, node: Node, facts: SchedulingFacts): readonly string[] {
  return [...taintDetails(pod, node), ...labelDetails(pod, node), ...roomDetails(pod, node, facts)];
}

const CORDONED = 'node.kubernetes.io/unschedulable';

function taintDetails(pod: Pod, node: Node): readonly string[] {
  const taints = (node.spec?.taints ?? []).filter(
    (taint) => taint.effect !== 'PreferNoSchedule' && taint.key !== CORDONED && !isTolerated(pod, taint),
  );
  const isKept = node.spec?.unschedulable && !isTolerated(pod, { key: CORDONED, effect: 'NoSchedule' });
  return [
    ...(isKept ? [`it is cordoned; \`slipway node uncordon ${nameOf(node)}\` ends that`] : []),
    ...taints.map(({ key, value, effect }) => `no toleration for its taint ${key}${value ? `=${value}` : ''}:${effect}`),
  ];
}

function labelDetails(pod: Pod, node: Node): readonly string[] {
  if (matchesNodeAffinity(pod, node)) return [];
  const labels = node.metadata.labels ?? {};
  const wrong = Object.entries(pod.spec?.nodeSelector ?? {}).filter(([key, value]) => labels[key] !== value);
  const details = wrong.map(([key, value]) => {
    const has = labels[key];
    if (key === Label.schedulable && has === 'false')
      return 'no guests come to it: the workloads placement of HyperConverged or KubeVirt leaves it out';
    return `nodeSelector wants ${key}=${value || '""'}; the node ${has === undefined ? 'has no such label' : `has ${has || '""'}`}`;
  });
  if (details.length > 0) return details;
  const terms = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  const texts = terms.map(({ matchExpressions = [], matchFields = [] }) =>
    [...matchExpressions, ...matchFields].map(({ key, operator, values = [] }) =>
      `${key} ${operator} ${values.join('|')}`.trim(),
    ),
  );
  return [`required node affinity: ${texts.map((term) => term.join(' and ')).join(', or ')}`];
}

function roomDetails(pod: Pod, node: Node, { placed }: SchedulingFacts): readonly string[] {
  const allocatable = amountsOf(node.status?.allocatable ?? node.status?.capacity);
  const used = new Map<string, number>();
  const here = placed.filter((other) => nameOf(other.node) === nameOf(node));
  for (const other of here) addAmounts(used, podRequests(other.pod));
  const details: string[] = [];
  const most = allocatable.get('pods');
  if (most !== undefined && here.length + 1 > most) details.push(`it has ${here.length} of at most ${most} pods`);
  for (const [name, asked] of podRequests(pod)) {
    const total = allocatable.get(name) ?? 0;
    const free = total - (used.get(name) ?? 0);
    if (asked === 0 || asked <= free) continue;
    const [wants, has, all] = [asked, Math.max(0, free), total].map((amount) => amountText(name, amount));
    details.push(total === 0 ? `it has no ${name}` : `${name}: asks for ${wants}, free are ${has} of ${all}`);
  }
  return details;
}

const UNITS = ['', 'Ki', 'Mi', 'Gi', 'Ti'] as const;

/** For people: three digits are enough. */
function amountText(name: string, amount: number): string {
  if (name === 'cpu') return String(amount / 1000);
  if (name !== 'memory' && name !== 'ephemeral-storage' && !name.startsWith('hugepages-')) return String(amount);
  const power = Math.min(UNITS.length - 1, amount < 1024 ? 0 : Math.floor(Math.log2(amount) / 10));
  return `${Number((amount / 1024 ** power).toFixed(1))}${UNITS[power]}`;
}
