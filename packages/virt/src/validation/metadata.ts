import type { ClusterConfig } from '../config.ts';
import { type Cause, invalid, notSupported, when } from './causes.ts';

interface Metadata {
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}

/** Labels by which KubeVirt finds and places guests; only its own components may write them. */
export const RESERVED_LABELS: readonly string[] = [
  'kubevirt.io/created-by',
  'kubevirt.io/migrationJobUID',
  'kubevirt.io/nodeName',
  'kubevirt.io/migrationTargetNodeName',
  'kubevirt.io/schedulable',
  'kubevirt.io/vmi-pod-cpu-resource-limits',
  'kubevirt.io/vmi-pod-memory-resource-requests',
  'kubevirt.io/install-strategy-identifier',
  'kubevirt.io/install-strategy-version',
  'kubevirt.io/install-strategy-registry',
];

/** Reserved labels and annotations that need a feature gate. `path` is `metadata` or `spec.template.metadata`. */
export function checkInstanceMetadata(path: string, metadata: Metadata | undefined, config: ClusterConfig): readonly Cause[] {
  const { labels = {}, annotations = {} } = metadata ?? {};
  const gated = (annotation: string, gate: string, name: string) =>
    when(annotations[annotation] !== undefined && !config.hasGate(gate), () =>
      invalid(
        `${path}.annotations`,
        `${name} feature gate is not enabled in kubevirt-config, invalid entry ${path}.annotations.${annotation}`,
      ),
    );
  return [
    ...when(
      RESERVED_LABELS.some((label) => labels[label] !== undefined),
      () =>
        notSupported(`${path}.labels`, 'creation of the following reserved kubevirt.io/ labels on a VMI object is prohibited'),
    ),
    ...gated('kubevirt.io/ignitiondata', 'ExperimentalIgnitionSupport', 'ExperimentalIgnitionSupport'),
    ...gated('hooks.kubevirt.io/hookSidecars', 'Sidecar', 'sidecar'),
  ];
}
