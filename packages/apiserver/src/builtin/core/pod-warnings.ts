import type { PodSpec } from './pod-defaults.ts';

/** Node labels that have a successor. */
const DEPRECATED_LABELS: Readonly<Record<string, readonly [since: string, use: string]>> = {
  'beta.kubernetes.io/arch': ['v1.14', 'kubernetes.io/arch'],
  'beta.kubernetes.io/os': ['v1.14', 'kubernetes.io/os'],
  'beta.kubernetes.io/instance-type': ['v1.17', 'node.kubernetes.io/instance-type'],
  'failure-domain.beta.kubernetes.io/region': ['v1.17', 'topology.kubernetes.io/region'],
  'failure-domain.beta.kubernetes.io/zone': ['v1.17', 'topology.kubernetes.io/zone'],
};

/** What is allowed, but hardly meant. */
export function podWarnings(spec: PodSpec | undefined, path: string): string[] {
  const warnings: string[] = [];
  for (const key of Object.keys(spec?.nodeSelector ?? {})) {
    const [since, use] = DEPRECATED_LABELS[key] ?? [];
    if (since !== undefined) warnings.push(`${path}.nodeSelector[${key}]: deprecated since ${since}; use "${use}" instead`);
  }
  for (const field of ['initContainers', 'containers'] as const) {
    (spec?.[field] ?? []).forEach(({ env = [] }, index) => {
      const seen = new Set<string>();
      env.forEach(({ name }, at) => {
        if (seen.has(name)) warnings.push(`${path}.${field}[${index}].env[${at}].name: duplicate name ${JSON.stringify(name)}`);
        seen.add(name);
      });
    });
  }
  return warnings;
}
