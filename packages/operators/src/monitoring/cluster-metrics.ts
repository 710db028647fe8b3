import type { HostPathProvisioner, Node } from '@slipway/api';
import { parsePoolReports, STORAGE_POOLS_ANNOTATION } from '@slipway/api';
import { gauge, type MetricFamily } from '@slipway/runtime';

export interface ClusterObjects {
  readonly nodes: readonly Node[];
  readonly provisioners: readonly HostPathProvisioner[];
}

/** Metrics of the cluster and of the hostpath provisioner, as their objects say. */
export function clusterMetrics({ nodes, provisioners }: ClusterObjects): MetricFamily[] {
  return [
    gauge(
      'kubevirt_hco_single_stack_ipv6',
      'Indicates whether the underlying cluster is single stack IPv6 (1) or not (0)',
      isIpv6Alone(nodes) ? 1 : 0,
    ),
    gauge('kubevirt_hpp_cr_ready', 'HPP CR Ready', readiness(provisioners)),
    gauge(
      'kubevirt_hpp_pool_path_shared_with_os',
      'HPP pool path sharing a filesystem with OS, fix to prevent HPP PVs from causing disk pressure and affecting node operation',
      provisioners.length > 0 && nodes.some(sharesPool(provisioners)) ? 1 : 0,
    ),
  ];
}

/** Networks of pods that the nodes have; nobody knows before there is one. */
function isIpv6Alone(nodes: readonly Node[]): boolean {
  const ranges = nodes.flatMap(({ spec }) => spec?.podCIDRs ?? []);
  return ranges.length > 0 && ranges.every((range) => range.includes(':'));
}

/** -1 while there is none, as before the first look of the operator. */
function readiness(provisioners: readonly HostPathProvisioner[]): number {
  if (provisioners.length === 0) return -1;
  const isAvailable = ({ status }: HostPathProvisioner): boolean =>
    (status?.conditions ?? []).some(({ type, status: state }) => type === 'Available' && state === 'True');
  return provisioners.every(isAvailable) ? 1 : 0;
}

const sharesPool = (provisioners: readonly HostPathProvisioner[]) => {
  const paths = new Set(
    provisioners.flatMap(({ spec }) => [spec?.pathConfig?.path, ...(spec?.storagePools ?? []).map(({ path }) => path)]),
  );
  return ({ metadata }: Node): boolean =>
    parsePoolReports(metadata.annotations?.[STORAGE_POOLS_ANNOTATION]).some(
      ({ path, isSharedWithSystem }) => isSharedWithSystem && paths.has(path),
    );
};
