import type { core, Node } from '@slipway/api';
import type { MachinePool } from './layer-variables.ts';

type Taint = core.Taint;

/** Says which pool a node belongs to. */
export const POOL_LABEL = 'slipway.dev/machine-pool';
/** The taints that a node has from its pool, as JSON: those are taken away when the pool changes, others stay. */
export const POOL_TAINTS = 'slipway.dev/machine-pool-taints';

/** What a node is to become. */
export interface PlannedNode {
  readonly node: Node;
  /** Undefined: it was in a pool that does not want it any more. */
  readonly pool: MachinePool | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** All of them, those of others included. */
  readonly taints: readonly Taint[];
  /** Of the pool alone. */
  readonly poolTaints: readonly Taint[];
  /** Whether its taints are so already. */
  readonly hasTaints: boolean;
}

export interface PoolPlan {
  readonly nodes: readonly PlannedNode[];
  /** Pools that there are too few nodes for. */
  readonly short: readonly { readonly pool: MachinePool; readonly missing: number }[];
}

/**
 * Gives each pool its nodes: those that it has, then free ones. A cluster keeps a node without a pool for everything else
 * where it can, so that the last nodes by name are taken first. Pure.
 */
export function planPools(pools: readonly MachinePool[], nodes: readonly Node[]): PoolPlan {
  const byName = [...nodes].sort((a, b) => nameOf(b).localeCompare(nameOf(a), 'en', { numeric: true }));
  const free = new Set(
    byName.filter((node) => poolNameOf(node) === undefined || !pools.some((pool) => pool.name === poolNameOf(node))),
  );
  const planned: PlannedNode[] = [];
  const short: { pool: MachinePool; missing: number }[] = [];
  for (const pool of pools) {
    const own = byName.filter((node) => poolNameOf(node) === pool.name);
    const kept = [...own].sort((a, b) => hasLabels(b, pool) - hasLabels(a, pool)).slice(0, pool.replicas);
    const candidates = [...free].sort((a, b) => hasLabels(b, pool) - hasLabels(a, pool) || isControlPlane(a) - isControlPlane(b));
    const taken = candidates.slice(0, pool.replicas - kept.length);
    for (const node of taken) free.delete(node);
    for (const node of own) if (!kept.includes(node)) free.add(node);
    planned.push(...[...kept, ...taken].map((node) => plannedNode(node, pool)));
    const missing = pool.replicas - kept.length - taken.length;
    if (missing > 0) short.push({ pool, missing });
  }
  const left = [...free].filter((node) => poolNameOf(node) !== undefined).map((node) => plannedNode(node, undefined));
  return { nodes: [...planned, ...left].sort((a, b) => nameOf(a.node).localeCompare(nameOf(b.node))), short };
}

const nameOf = ({ metadata }: Node): string => metadata.name ?? '';
const poolNameOf = ({ metadata }: Node): string | undefined => metadata.labels?.[POOL_LABEL];
/** A node that a person has labelled already is the one that is meant. */
const hasLabels = ({ metadata }: Node, { labels }: MachinePool): number => {
  const wanted = Object.entries(labels);
  return wanted.length > 0 && wanted.every(([name, value]) => metadata.labels?.[name] === value) ? 1 : 0;
};
const isControlPlane = ({ metadata }: Node): number =>
  metadata.labels?.['node-role.kubernetes.io/control-plane'] === undefined ? 0 : 1;

function plannedNode(node: Node, pool: MachinePool | undefined): PlannedNode {
  const poolTaints = pool?.taints ?? [];
  const former = formerTaints(node);
  const current = node.spec?.taints ?? [];
  const others = current.filter((taint) => !has(former, taint) && !has(poolTaints, taint));
  const taints = [...others, ...poolTaints];
  const isSame = taints.length === current.length && taints.every((taint) => current.some((one) => isEqual(one, taint)));
  const isRecorded =
    former.length === poolTaints.length && poolTaints.every((taint) => former.some((one) => isEqual(one, taint)));
  const labels = pool === undefined ? {} : { ...pool.labels, [POOL_LABEL]: pool.name };
  return { node, pool, labels, taints, poolTaints, hasTaints: isSame && isRecorded };
}

/** Taints are told apart by key and effect. */
const has = (taints: readonly Taint[], { key, effect }: Taint): boolean =>
  taints.some((taint) => taint.key === key && taint.effect === effect);
export const isEqual = (a: Taint, b: Taint): boolean =>
  a.key === b.key && a.effect === b.effect && (a.value ?? '') === (b.value ?? '');

function formerTaints({ metadata }: Node): readonly Taint[] {
  try {
    const former: unknown = JSON.parse(metadata.annotations?.[POOL_TAINTS] ?? '[]');
    return Array.isArray(former) ? (former as readonly Taint[]) : []; // written by us
  } catch {
    return []; // by hand: then no taint is ours
  }
}
