import type { ResourceDefinition } from '../registry/resource-definition.ts';

const CORE_PACKAGES: Readonly<Record<string, string>> = {
  '': 'io.k8s.api.core',
  'apiextensions.k8s.io': 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions',
  'apiregistration.k8s.io': 'io.k8s.kube-aggregator.pkg.apis.apiregistration',
};

/** Name of a kind's definition, as published by Kubernetes; custom kinds by their reversed group. */
export function schemaName({ group, version, custom }: ResourceDefinition, kind: string): string {
  if (custom) return `${group.split('.').reverse().join('.')}.${version}.${kind}`;
  const known = CORE_PACKAGES[group];
  if (known !== undefined) return `${known}.${version}.${kind}`;
  return `io.k8s.api.${group.split('.')[0]}.${version}.${kind}`;
}
