import {
  type HostPathProvisioner,
  LEGACY_POOL,
  type Node,
  parsePoolReports,
  STORAGE_POOLS_ANNOTATION,
  type StoragePoolReport,
} from '@slipway/api';
import type { Condition } from '@slipway/apimachinery';
import { healthy } from '../components/component-status.ts';

type Update = Omit<Condition, 'lastTransitionTime'>;
type PoolStatuses = NonNullable<NonNullable<HostPathProvisioner['status']>['storagePoolStatuses']>;

export interface HostPathStatus {
  readonly conditions: readonly Update[];
  readonly storagePoolStatuses: PoolStatuses;
}

/** Pools of the object, that of the older form included. Pure. */
export function poolsOf({ spec }: HostPathProvisioner): readonly { readonly name: string; readonly path: string }[] {
  const { pathConfig, storagePools = [] } = spec ?? {};
  return pathConfig?.path ? [{ name: LEGACY_POOL, path: pathConfig.path }] : storagePools;
}

/** What the object says of its pools, by what the agents of its nodes say. Pure. */
export function planHostPathStatus(provisioner: HostPathProvisioner, nodes: readonly Node[]): HostPathStatus {
  const mine = nodes.filter((node) => isFor(provisioner, node));
  const found = poolsOf(provisioner).map(({ name, path }) => ({
    name,
    reports: mine.map((node) => ({ node: node.metadata.name ?? '', report: reportOf(node, name, path) })),
  }));
  const storagePoolStatuses = found.map(({ name, reports }) => {
    const currentReady = reports.filter(({ report }) => report !== undefined && report.problem === undefined).length;
    const phase = mine.length > 0 && currentReady === mine.length ? ('Ready' as const) : ('Preparing' as const);
    return { name, phase, desiredReady: mine.length, currentReady };
  });
  const problems = found.flatMap(({ name, reports }) =>
    reports.flatMap(({ node, report }) => (report?.problem ? [`${name} on node ${node}: ${report.problem}`] : [])),
  );
  return { conditions: conditionsOf(mine.length, problems, storagePoolStatuses), storagePoolStatuses };
}

function conditionsOf(nodes: number, problems: readonly string[], pools: PoolStatuses): readonly Update[] {
  if (problems.length > 0) {
    const message = problems.join('; ').slice(0, 1024);
    return [
      { type: 'Available', status: 'False', reason: 'PoolNotReady', message },
      { type: 'Progressing', status: 'False', reason: 'PoolNotReady', message },
      { type: 'Degraded', status: 'True', reason: 'PoolNotReady', message },
    ];
  }
  if (pools.every(({ phase }) => phase === 'Ready')) return healthy('Complete', 'Application Available');
  const message =
    nodes === 0 ? 'No node has the labels of spec.workload.nodeSelector' : 'The nodes make the directories of the pools';
  return [
    { type: 'Available', status: 'False', reason: 'Preparing', message },
    { type: 'Progressing', status: 'True', reason: 'Preparing', message },
    { type: 'Degraded', status: 'False', reason: 'Preparing', message },
  ];
}

const isFor = ({ spec }: HostPathProvisioner, { metadata }: Node): boolean =>
  Object.entries(spec?.workload?.nodeSelector ?? {}).every(([key, value]) => metadata.labels?.[key] === value);

const reportOf = ({ metadata }: Node, name: string, path: string): StoragePoolReport | undefined =>
  parsePoolReports(metadata.annotations?.[STORAGE_POOLS_ANNOTATION]).find(
    (report) => report.name === name && report.path === path,
  );
