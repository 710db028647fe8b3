import { isObject } from '@slipway/apimachinery';

/** Closed value sets of pod fields inside an instance spec; the bundled schemas leave them open. */
const ENUMS: readonly { readonly path: readonly string[]; readonly values: readonly string[] }[] = [
  { path: ['dnsPolicy'], values: ['ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None'] },
  { path: ['topologySpreadConstraints', 'whenUnsatisfiable'], values: ['DoNotSchedule', 'ScheduleAnyway'] },
  {
    path: [
      'affinity',
      'nodeAffinity',
      'requiredDuringSchedulingIgnoredDuringExecution',
      'nodeSelectorTerms',
      'matchExpressions',
      'operator',
    ],
    values: ['DoesNotExist', 'Exists', 'Gt', 'In', 'Lt', 'NotIn'],
  },
];

function valuesAt(value: unknown, path: readonly string[]): readonly unknown[] {
  if (Array.isArray(value)) return value.flatMap((item: unknown) => valuesAt(item, path));
  const [first, ...rest] = path;
  if (first === undefined) return [value];
  return isObject(value) && value[first] !== undefined ? valuesAt(value[first], rest) : [];
}

/** Messages for values outside their set; `prefix` is the place of the instance spec. */
export function coreEnumFaults(prefix: string, spec: unknown): readonly string[] {
  return ENUMS.flatMap(({ path, values }) =>
    valuesAt(spec, path)
      .filter((value) => typeof value === 'string' && !values.includes(value))
      .map(() => `${prefix}.${path.join('.')} in body should be one of [${values.join(' ')}]`),
  );
}
