import type { KubeVirt, Node, Pod } from '@slipway/api';
import type { MetricFamily } from '@slipway/runtime';
import { hasKvm } from '../virtual-machine/cluster-facts.ts';
import { Families } from './families.ts';

const PARTS = {
  kubevirt_virt_api_ready_status: 'Indication for a virt-api that is ready to take requests.',
  kubevirt_virt_controller_ready_status: 'Indication for a virt-controller that is ready to take the lead.',
  kubevirt_virt_controller_leading_status: 'Indication for an operating virt-controller.',
  kubevirt_virt_operator_ready_status: 'Indication for a virt operator being ready.',
  kubevirt_virt_operator_leading_status: 'Indication for an operating virt-operator.',
} as const;

export interface ControlPlaneFacts {
  readonly kubevirt: KubeVirt | undefined;
  readonly nodes: readonly Node[];
  /** Launcher pods that have failed and are kept. */
  readonly failedLaunchers: readonly Pod[];
  readonly version: string;
}

/** Metrics of the platform's own parts: those in this process are ready because they answer. */
export function controlPlaneMetrics({ kubevirt, nodes, failedLaunchers, version }: ControlPlaneFacts): MetricFamily[] {
  const families = new Families().declare('gauge', {
    ...PARTS,
    kubevirt_info: 'Version information.',
    kubevirt_configuration_emulation_enabled: 'Indicates whether the Software Emulation is enabled in the configuration.',
    kubevirt_virt_handler_ready_status: 'Indication for a virt-handler that is ready; one per node.',
    kubevirt_node_schedulable: 'Whether guests may be placed on the node.',
    kubevirt_node_has_kvm: 'Whether the node has hardware virtualization to give.',
    kubevirt_virt_launcher_failed_pods: 'Launcher pods that have failed.',
  });
  families.add('kubevirt_info', { goversion: process.version, kubeversion: version }, 1);
  const { useEmulation } = kubevirt?.spec.configuration?.developerConfiguration ?? {};
  families.add('kubevirt_configuration_emulation_enabled', {}, useEmulation ? 1 : 0);
  for (const name of Object.keys(PARTS)) families.add(name, {}, 1);
  families.add('kubevirt_virt_launcher_failed_pods', {}, failedLaunchers.length);
  for (const node of nodes) addNode(families, node);
  return families.list();
}

function addNode(families: Families, node: Node): void {
  const { metadata, status, spec } = node;
  const labels = { node: metadata.name };
  const isReady = (status?.conditions ?? []).some(({ type, status: state }) => type === 'Ready' && state === 'True');
  const isOpen = metadata.labels?.['kubevirt.io/schedulable'] === 'true' && spec?.unschedulable !== true;
  families.add('kubevirt_virt_handler_ready_status', labels, isReady ? 1 : 0);
  families.add('kubevirt_node_schedulable', labels, isReady && isOpen ? 1 : 0);
  families.add('kubevirt_node_has_kvm', labels, hasKvm(node) ? 1 : 0);
}
