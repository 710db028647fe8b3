import { isObject } from '@slipway/apimachinery';

/** Closed value sets of pod fields inside an instance spec; the bundled schemas leave them open. */
const NODE_OPERATORS = ['DoesNotExist', 'Exists', 'Gt', 'In', 'Lt', 'NotIn'];
const PULL_POLICIES = ['Always', 'IfNotPresent', 'Never'];
const NODE_TERM = 'affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms';
const NODE_PREFERENCE = 'affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution.preference';

const ENUMS: readonly (readonly [path: string, values: readonly string[]])[] = [
  ['dnsPolicy', ['ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None']],
  ['topologySpreadConstraints.whenUnsatisfiable', ['DoNotSchedule', 'ScheduleAnyway']],
  ['topologySpreadConstraints.nodeAffinityPolicy', ['Honor', 'Ignore']],
  ['topologySpreadConstraints.nodeTaintsPolicy', ['Honor', 'Ignore']],
  [`${NODE_TERM}.matchExpressions.operator`, NODE_OPERATORS],
  [`${NODE_TERM}.matchFields.operator`, NODE_OPERATORS],
  [`${NODE_PREFERENCE}.matchExpressions.operator`, NODE_OPERATORS],
  [`${NODE_PREFERENCE}.matchFields.operator`, NODE_OPERATORS],
  ['tolerations.effect', ['NoExecute', 'NoSchedule', 'PreferNoSchedule']],
  ['tolerations.operator', ['Equal', 'Exists']],
  ['volumes.containerDisk.imagePullPolicy', PULL_POLICIES],
  ['domain.firmware.kernelBoot.container.imagePullPolicy', PULL_POLICIES],
  ['readinessProbe.httpGet.scheme', ['HTTP', 'HTTPS']],
  ['livenessProbe.httpGet.scheme', ['HTTP', 'HTTPS']],
];

function valuesAt(value: unknown, path: readonly string[]): readonly unknown[] {
  if (Array.isArray(value)) return value.flatMap((item: unknown) => valuesAt(item, path));
  const [first, ...rest] = path;
  if (first === undefined) return [value];
  return isObject(value) && value[first] !== undefined ? valuesAt(value[first], rest) : [];
}

/** Messages for values outside their set; `prefix` is the place of the instance spec. An empty value is none. */
export function coreEnumFaults(prefix: string, spec: unknown): readonly string[] {
  return ENUMS.flatMap(([path, values]) =>
    valuesAt(spec, path.split('.'))
      .filter((value) => typeof value === 'string' && value !== '' && !values.includes(value))
      .map(() => `${prefix}.${path} in body should be one of [${values.join(' ')}]`),
  );
}
