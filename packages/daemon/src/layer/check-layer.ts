import { Label, type Node, type Pod } from '@slipway/api';
import { type Condition, deepEqual, findCondition } from '@slipway/apimachinery';
import { GROUP_TEXT, groupOf, isOperator, type PodGroup } from './belonging.ts';
import type { ClusterServiceVersion, FlatHyperConverged, Subscription } from './layer-kinds.ts';
import { nodePlacement } from './layer-objects.ts';
import { type LayerVariables, taintText } from './layer-variables.ts';
import { isEqual, type PlannedNode, planPools, POOL_LABEL, type PoolPlan } from './plan-pools.ts';

export interface LayerFacts {
  readonly nodes: readonly Node[];
  readonly pods: readonly Pod[];
  readonly hco: FlatHyperConverged | undefined;
  readonly subscription: Subscription | undefined;
  readonly versions: readonly ClusterServiceVersion[];
}

export interface CheckedPod {
  readonly pod: string;
  readonly group: PodGroup;
  /** Why it does not belong where it is; absent when it does. */
  readonly fault?: string;
}

export interface CheckedNode {
  readonly name: string;
  /** Name of its machine pool. */
  readonly pool?: string;
  readonly isForGuests: boolean;
  readonly taints: readonly string[];
  readonly pods: readonly CheckedPod[];
}

export interface LayerReport {
  readonly nodes: readonly CheckedNode[];
  /** Everything that is not as the variables say; empty is what one wants. */
  readonly findings: readonly string[];
}

/** Compares a cluster with the variables: nodes, the objects of the layer, and each pod's place. Pure. */
export function checkLayer(variables: LayerVariables, facts: LayerFacts): LayerReport {
  const nodes = [...facts.nodes]
    .sort((a, b) => (a.metadata.name ?? '').localeCompare(b.metadata.name ?? ''))
    .map((node) => checkNode(node, variables, facts.pods));
  const misplaced = nodes.flatMap(({ name, pods }) =>
    pods.flatMap(({ pod, fault }) => (fault === undefined ? [] : `pod ${pod} on ${name} ${fault}`)),
  );
  const short = shortPools(planPools(variables.pools, facts.nodes));
  return { nodes, findings: [...short, ...layerFaults(variables, facts), ...misplaced] };
}

/** Pools that the cluster has too few nodes for, which no waiting changes. Pure. */
export const shortPools = ({ short }: PoolPlan): readonly string[] =>
  short.map(
    ({ pool, missing }) =>
      `machine pool ${pool.name} has ${pool.replicas - missing} of ${pool.replicas} nodes; the cluster has no more`,
  );

/** What is not as the variables say of nodes and objects, pods aside. Pure. */
export const layerFaults = (variables: LayerVariables, facts: LayerFacts): readonly string[] => [
  ...planPools(variables.pools, facts.nodes).nodes.flatMap(nodeFaults),
  ...objectFaults(variables, facts),
  ...guestFaults(variables, facts.nodes),
];

/** Whether guests are let onto the right nodes: KubeVirt says so by a label. */
function guestFaults({ isEnabled, nodeSelector }: LayerVariables, nodes: readonly Node[]): readonly string[] {
  const wanted = Object.entries(nodeSelector);
  if (!isEnabled || wanted.length === 0) return [];
  return nodes.flatMap(({ metadata: { name, labels = {} } }) => {
    const isForGuests = wanted.every(([label, value]) => labels[label] === value);
    const takesGuests = labels[Label.schedulable] === 'true';
    if (isForGuests === takesGuests) return [];
    return isForGuests ? [`node ${name} takes no guests (label ${Label.schedulable})`] : [`node ${name} still takes guests`];
  });
}

function nodeFaults({ node, pool, labels, taints, poolTaints }: PlannedNode): readonly string[] {
  const name = node.metadata.name ?? '';
  if (pool === undefined)
    return [`node ${name} belongs to machine pool ${node.metadata.labels?.[POOL_LABEL]}, which is gone or full`];
  if (node.metadata.labels?.[POOL_LABEL] !== pool.name)
    return [`node ${name} is not in machine pool ${pool.name} yet; \`slipway layer apply\` puts it there`];
  const current = node.spec?.taints ?? [];
  const missing = Object.entries(labels).filter(([label, value]) => node.metadata.labels?.[label] !== value);
  const untainted = poolTaints.filter((taint) => !current.some((one) => isEqual(one, taint)));
  return [
    ...missing.map(([label, value]) => `node ${name} of machine pool ${pool.name} lacks the label ${label}=${value}`),
    ...untainted.map((taint) => `node ${name} of machine pool ${pool.name} lacks the taint ${taintText(taint)}`),
    ...(taints.length < current.length ? [`node ${name} has taints that machine pool ${pool.name} does not have any more`] : []),
  ];
}

function objectFaults(variables: LayerVariables, { hco, subscription, versions }: LayerFacts): readonly string[] {
  if (!variables.isEnabled) return [];
  const faults =
    subscription === undefined ? ['there is no Subscription in openshift-cnv'] : subscriptionFaults(subscription, versions);
  if (hco === undefined) return [...faults, 'there is no HyperConverged in openshift-cnv'];
  return [...faults, ...placementFaults(variables, hco), ...healthFaults(hco.status?.conditions ?? [])];
}

function placementFaults(variables: LayerVariables, { spec }: FlatHyperConverged): readonly string[] {
  const wanted = nodePlacement(variables) ?? {};
  return (['infra', 'workloads'] as const).flatMap((section) =>
    deepEqual(spec?.[section]?.nodePlacement ?? {}, wanted)
      ? []
      : [`HyperConverged spec.${section}.nodePlacement is not what virt_node_selector and virt_tolerations say`],
  );
}

function subscriptionFaults({ metadata, status }: Subscription, versions: readonly ClusterServiceVersion[]): readonly string[] {
  const failed = status?.conditions?.find((condition) => condition.status === 'True');
  if (failed !== undefined) return [`Subscription ${metadata.name}: ${failed.type}: ${failed.message || failed.reason}`];
  const csv = versions.find((version) => version.metadata.name === status?.installedCSV);
  if (csv?.status?.phase === 'Succeeded') return [];
  const state =
    csv === undefined ? 'has installed nothing' : `${csv.metadata.name} is ${csv.status?.phase}: ${csv.status?.message}`;
  return [`Subscription ${metadata.name}: ${state}`];
}

/** Conditions that are not good; `Upgradeable` says nothing of now. Pure. */
export function healthFaults(conditions: readonly Condition[]): readonly string[] {
  const wanted = { ReconcileComplete: 'True', Available: 'True', Progressing: 'False', Degraded: 'False' };
  return Object.entries(wanted).flatMap(([type, status]) => {
    const condition = findCondition(conditions, type);
    if (condition?.status === status) return [];
    const text =
      condition === undefined ? 'is not there yet' : `is ${condition.status}: ${condition.message ?? condition.reason}`;
    return [`HyperConverged condition ${type} ${text}`];
  });
}

function checkNode(node: Node, variables: LayerVariables, pods: readonly Pod[]): CheckedNode {
  const { name = '', labels = {} } = node.metadata;
  const wanted = Object.entries(variables.nodeSelector);
  const isForGuests = wanted.every(([label, value]) => labels[label] === value);
  const pool = labels[POOL_LABEL];
  const here = pods.filter(
    ({ spec, status }) => spec?.nodeName === name && !['Succeeded', 'Failed'].includes(status?.phase ?? ''),
  );
  return {
    name,
    ...(pool !== undefined && { pool }),
    isForGuests,
    taints: (node.spec?.taints ?? []).map(taintText),
    pods: here
      .map((pod) => checkedPod(pod, { node, isForGuests, isSplit: variables.isEnabled && wanted.length > 0 }))
      .sort((a, b) => a.pod.localeCompare(b.pod)),
  };
}

interface Place {
  readonly node: Node;
  readonly isForGuests: boolean;
  /** Whether some nodes are for virtualization and others are not. */
  readonly isSplit: boolean;
}

function checkedPod(pod: Pod, { node, isForGuests, isSplit }: Place): CheckedPod {
  const group = groupOf(pod);
  const checked = { pod: `${pod.metadata.namespace}/${pod.metadata.name}`, group };
  if (!isSplit || group === 'cluster') return checked;
  if (isForGuests) return group === 'other' && !isOperator(pod) ? { ...checked, fault: strangerFault(node) } : checked;
  return group === 'other' || isOperator(pod) ? checked : { ...checked, fault: outsideFault(group) };
}

function strangerFault({ spec }: Node): string {
  const text = 'does not belong there: it is no part of virtualization';
  const taints = spec?.taints ?? [];
  if (taints.length === 0) return `${text}, and the node has no taint that keeps it away`;
  if (taints.every(({ effect }) => effect === 'PreferNoSchedule'))
    return `${text}; PreferNoSchedule does not keep it away where nothing else has room`;
  return `${text}; it tolerates the taints of the node, or was there before them`;
}

const outsideFault = (group: PodGroup): string =>
  `does not belong there: ${GROUP_TEXT[group]} has other nodes by virt_node_selector${
    group === 'guest' ? '; migrate or restart the VM' : '; it goes when it is made again'
  }`;
