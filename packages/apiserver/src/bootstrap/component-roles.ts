import type { UnstructuredObject } from '@slipway/apimachinery';
import type { ComponentRights } from '@slipway/runtime';
import { RBAC_GROUP } from '../authz/rbac.ts';

/** A part of the platform that acts as a service account of this namespace. */
export interface Component extends ComponentRights {
  readonly namespace: string;
}

const API_VERSION = `${RBAC_GROUP}/v1`;

/** A ClusterRole and its binding for each component, named as those of Kubernetes' own controllers. */
export function componentObjects(components: readonly Component[]): {
  readonly roles: readonly UnstructuredObject[];
  readonly bindings: readonly UnstructuredObject[];
} {
  const metadata = (name: string) => ({
    name: `system:controller:${name}`,
    labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults' },
    annotations: { 'rbac.authorization.kubernetes.io/autoupdate': 'true' },
  });
  return {
    roles: components.map(({ name, rules }) => ({
      apiVersion: API_VERSION,
      kind: 'ClusterRole',
      metadata: metadata(name),
      rules: [...rules],
    })),
    bindings: components.map(({ name, namespace }) => ({
      apiVersion: API_VERSION,
      kind: 'ClusterRoleBinding',
      metadata: metadata(name),
      roleRef: { apiGroup: RBAC_GROUP, kind: 'ClusterRole', name: `system:controller:${name}` },
      subjects: [{ kind: 'ServiceAccount', namespace, name }],
    })),
  };
}
