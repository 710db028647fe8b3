import type { Node } from '@slipway/api';
import type { Fields, HyperConverged } from '../kinds.ts';
import { valueAt } from './spec-paths.ts';

/** What the operator must know of the cluster to write the specs of its operands. */
export interface Topology {
  readonly installNamespace: string;
  readonly version: string;
  readonly controlPlaneNodes: number;
  readonly workers: number;
  readonly controlPlaneArchitectures: readonly string[];
  /** Of the nodes where VMs may run. */
  readonly workloadArchitectures: readonly string[];
}

const hasRole = ({ metadata }: Node, ...roles: readonly string[]): boolean =>
  roles.some((role) => metadata.labels?.[`node-role.kubernetes.io/${role}`] !== undefined);

const architecturesOf = (nodes: readonly Node[]): readonly string[] =>
  [...new Set(nodes.flatMap(({ metadata }) => metadata.labels?.['kubernetes.io/arch'] ?? []))].sort();

/** Counts nodes by role; the workload placement says which ones VMs may run on, else the workers do. */
export function topologyOf(
  nodes: readonly Node[],
  { spec }: HyperConverged,
  installNamespace: string,
  version: string,
): Topology {
  const controlPlane = nodes.filter((node) => hasRole(node, 'control-plane', 'master'));
  const workers = nodes.filter((node) => hasRole(node, 'worker'));
  const selector = valueAt(spec, 'deployment.nodePlacements.workload.nodeSelector');
  const wanted = Object.entries((selector ?? {}) as Record<string, unknown>); // a map by its schema
  const chosen =
    wanted.length === 0
      ? workers
      : nodes.filter(({ metadata }) => wanted.every(([name, value]) => metadata.labels?.[name] === value));
  return {
    installNamespace,
    version,
    controlPlaneNodes: controlPlane.length,
    workers: workers.length,
    controlPlaneArchitectures: architecturesOf(controlPlane.length > 0 ? controlPlane : nodes),
    workloadArchitectures: architecturesOf(chosen.length > 0 || wanted.length > 0 ? chosen : nodes),
  };
}

/** `status.nodeInfo`. */
export function nodeInfo({ workloadArchitectures, controlPlaneArchitectures }: Topology): Fields {
  const preferred = controlPlaneArchitectures.find((name) => workloadArchitectures.includes(name)) ?? workloadArchitectures[0];
  return {
    workloadsArchitectures: workloadArchitectures,
    controlPlaneArchitectures,
    ...(preferred !== undefined && { defaultWorkloadArchitecture: preferred }),
  };
}
