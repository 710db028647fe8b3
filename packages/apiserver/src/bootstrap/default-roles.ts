import type { UnstructuredObject } from '@slipway/apimachinery';
import type { PolicyRule } from '@slipway/runtime';
import { RBAC_GROUP } from '../authz/rbac.ts';
import {
  CDI_CLONE_SOURCER,
  CDI_CONFIG_READER,
  CDI_EDIT,
  CDI_VIEW,
  INSTANCETYPE_VIEW,
  KUBEVIRT_ADMIN,
  KUBEVIRT_DEFAULT,
  KUBEVIRT_EDIT,
  KUBEVIRT_MIGRATE,
  KUBEVIRT_OPERATOR,
  KUBEVIRT_VIEW,
} from './virtualization-roles.ts';
import { KUBEVIRT_ACCOUNT_ROLES } from './kubevirt-account-roles.ts';

const API_VERSION = `${RBAC_GROUP}/v1`;
const BOOTSTRAP = { 'kubernetes.io/bootstrapping': 'rbac-defaults' };
const READ = ['get', 'list', 'watch'];
const WRITE = ['create', 'delete', 'deletecollection', 'patch', 'update'];
const ALL = ['*'];

const rule = (apiGroups: string[], resources: string[], verbs: string[], resourceNames?: string[]): PolicyRule => ({
  apiGroups,
  resources,
  verbs,
  ...(resourceNames && { resourceNames }),
});
const urls = (nonResourceURLs: string[], verbs = ['get']): PolicyRule => ({ nonResourceURLs, verbs });

function clusterRole(name: string, rules: readonly PolicyRule[], labels: Record<string, string> = {}): UnstructuredObject {
  return role('ClusterRole', name, { rules: [...rules] }, labels);
}

function role(
  kind: string,
  name: string,
  content: Record<string, unknown>,
  labels: Record<string, string> = {},
): UnstructuredObject {
  return {
    apiVersion: API_VERSION,
    kind,
    metadata: {
      name,
      labels: { ...BOOTSTRAP, ...labels },
      annotations: { 'rbac.authorization.kubernetes.io/autoupdate': 'true' },
    },
    ...content,
  };
}

const aggregate = (to: string): Record<string, string> => ({ [`rbac.authorization.k8s.io/aggregate-to-${to}`]: 'true' });

/** A role that is the sum of the roles labelled for it; `rules` are what the label selects from the start. */
function aggregated(name: string, rules: readonly PolicyRule[], labels: Record<string, string> = {}): UnstructuredObject {
  const clusterRoleSelectors = [{ matchLabels: aggregate(name) }];
  return role('ClusterRole', name, { aggregationRule: { clusterRoleSelectors }, rules: [...rules] }, labels);
}

function binding(name: string, roleName: string, groups: readonly string[], users: readonly string[] = []): UnstructuredObject {
  return role('ClusterRoleBinding', name, {
    roleRef: { apiGroup: RBAC_GROUP, kind: 'ClusterRole', name: roleName },
    subjects: [
      ...groups.map((group) => ({ apiGroup: RBAC_GROUP, kind: 'Group', name: group })),
      ...users.map((user) => ({ apiGroup: RBAC_GROUP, kind: 'User', name: user })),
    ],
  });
}

const VIEW_RULES = [
  rule(
    [''],
    [
      'configmaps',
      'endpoints',
      'persistentvolumeclaims',
      'persistentvolumeclaims/status',
      'pods',
      'replicationcontrollers',
      'replicationcontrollers/scale',
      'serviceaccounts',
      'services',
      'services/status',
    ],
    READ,
  ),
  rule(
    [''],
    [
      'bindings',
      'events',
      'limitranges',
      'namespaces/status',
      'pods/log',
      'pods/status',
      'replicationcontrollers/status',
      'resourcequotas',
      'resourcequotas/status',
      'namespaces',
    ],
    READ,
  ),
  rule(['discovery.k8s.io'], ['endpointslices'], READ),
  rule(
    ['apps'],
    [
      'controllerrevisions',
      'daemonsets',
      'daemonsets/status',
      'deployments',
      'deployments/scale',
      'deployments/status',
      'replicasets',
      'replicasets/scale',
      'replicasets/status',
      'statefulsets',
      'statefulsets/scale',
      'statefulsets/status',
    ],
    READ,
  ),
  rule(['autoscaling'], ['horizontalpodautoscalers', 'horizontalpodautoscalers/status'], READ),
  rule(['batch'], ['cronjobs', 'cronjobs/status', 'jobs', 'jobs/status'], READ),
  rule(['policy'], ['poddisruptionbudgets', 'poddisruptionbudgets/status'], READ),
  rule(['networking.k8s.io'], ['ingresses', 'ingresses/status', 'networkpolicies'], READ),
];

const EDIT_RULES = [
  rule([''], ['pods/attach', 'pods/exec', 'pods/portforward', 'pods/proxy', 'secrets', 'services/proxy'], READ),
  rule([''], ['serviceaccounts'], ['impersonate']),
  rule([''], ['pods', 'pods/attach', 'pods/exec', 'pods/portforward', 'pods/proxy'], WRITE),
  rule([''], ['pods/eviction'], ['create']),
  rule(
    [''],
    [
      'configmaps',
      'events',
      'persistentvolumeclaims',
      'replicationcontrollers',
      'replicationcontrollers/scale',
      'secrets',
      'serviceaccounts',
      'services',
      'services/proxy',
    ],
    WRITE,
  ),
  rule([''], ['serviceaccounts/token'], ['create']),
  rule(
    ['apps'],
    [
      'daemonsets',
      'deployments',
      'deployments/rollback',
      'deployments/scale',
      'replicasets',
      'replicasets/scale',
      'statefulsets',
      'statefulsets/scale',
    ],
    WRITE,
  ),
  rule(['autoscaling'], ['horizontalpodautoscalers'], WRITE),
  rule(['batch'], ['cronjobs', 'jobs'], WRITE),
  rule(['policy'], ['poddisruptionbudgets'], WRITE),
  rule(['networking.k8s.io'], ['ingresses', 'networkpolicies'], WRITE),
  rule(['coordination.k8s.io'], ['leases'], [...WRITE, ...READ]),
];

const ADMIN_RULES = [
  rule(['authorization.k8s.io'], ['localsubjectaccessreviews'], ['create']),
  rule([RBAC_GROUP], ['rolebindings', 'roles'], [...WRITE, ...READ]),
];

/** Cluster roles every Kubernetes cluster has, and those of KubeVirt and CDI. */
export function defaultClusterRoles(): UnstructuredObject[] {
  const view = [...VIEW_RULES, ...KUBEVIRT_VIEW, ...CDI_VIEW];
  const edit = [...EDIT_RULES, ...KUBEVIRT_EDIT, ...CDI_EDIT, ...view];
  return [
    clusterRole('cluster-admin', [rule(ALL, ALL, ALL), urls(ALL, ALL)]),
    clusterRole('system:discovery', [
      urls([
        '/api',
        '/api/*',
        '/apis',
        '/apis/*',
        '/healthz',
        '/livez',
        '/openapi',
        '/openapi/*',
        '/readyz',
        '/version',
        '/version/',
      ]),
    ]),
    clusterRole('system:public-info-viewer', [urls(['/healthz', '/livez', '/readyz', '/version', '/version/'])]),
    clusterRole('system:basic-user', [
      rule(['authorization.k8s.io'], ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'], ['create']),
      rule(['authentication.k8s.io'], ['selfsubjectreviews'], ['create']),
      // which ones is decided for each project
      rule(['project.openshift.io'], ['projects'], ['get', 'list', 'delete']),
    ]),
    clusterRole('system:service-account-issuer-discovery', [urls(['/.well-known/openid-configuration', '/openid/v1/jwks'])]),
    clusterRole('system:auth-delegator', [
      rule(['authentication.k8s.io'], ['tokenreviews'], ['create']),
      rule(['authorization.k8s.io'], ['subjectaccessreviews'], ['create']),
    ]),
    aggregated('admin', [...ADMIN_RULES, ...KUBEVIRT_ADMIN, ...edit]),
    aggregated('edit', edit, aggregate('admin')),
    aggregated('view', view, aggregate('edit')),
    clusterRole('system:aggregate-to-admin', ADMIN_RULES, aggregate('admin')),
    clusterRole('system:aggregate-to-edit', EDIT_RULES, aggregate('edit')),
    clusterRole('system:aggregate-to-view', VIEW_RULES, aggregate('view')),
    clusterRole('kubevirt.io:view', KUBEVIRT_VIEW, aggregate('view')),
    clusterRole('kubevirt.io:edit', KUBEVIRT_EDIT, aggregate('edit')),
    clusterRole('kubevirt.io:admin', KUBEVIRT_ADMIN, aggregate('admin')),
    clusterRole('kubevirt.io:migrate', KUBEVIRT_MIGRATE),
    clusterRole('kubevirt.io:operator', KUBEVIRT_OPERATOR),
    clusterRole('kubevirt.io:default', KUBEVIRT_DEFAULT),
    clusterRole('instancetype.kubevirt.io:view', INSTANCETYPE_VIEW),
    clusterRole('cdi.kubevirt.io:view', CDI_VIEW, aggregate('view')),
    clusterRole('cdi.kubevirt.io:edit', CDI_EDIT, aggregate('edit')),
    clusterRole(
      'project.openshift.io:admin',
      [rule(['project.openshift.io'], ['projects'], ['get', 'delete'])],
      aggregate('admin'),
    ),
    clusterRole(
      'quota.openshift.io:view',
      [rule(['quota.openshift.io'], ['appliedclusterresourcequotas'], ['get', 'list'])],
      aggregate('view'),
    ),
    clusterRole('aaq.kubevirt.io:view', [rule(['aaq.kubevirt.io'], ['applicationawareresourcequotas'], READ)], aggregate('view')),
    clusterRole('token.kubevirt.io:generate', [rule(['token.kubevirt.io'], ['virtualmachines/vnc'], ['get'])]),
    // bound by an administrator: who may make namespaces uses the machine
    clusterRole('self-provisioner', [rule(['project.openshift.io'], ['projectrequests'], ['create', 'list', 'get'])]),
    clusterRole('cdi.kubevirt.io:admin', CDI_EDIT, aggregate('admin')),
    clusterRole('cdi.kubevirt.io:config-reader', CDI_CONFIG_READER),
    clusterRole('cdi.kubevirt.io:clone-sourcer', CDI_CLONE_SOURCER),
    ...KUBEVIRT_ACCOUNT_ROLES.map(([name, rules]) => clusterRole(name, rules)),
  ];
}

export function defaultClusterRoleBindings(): UnstructuredObject[] {
  const authenticated = ['system:authenticated'];
  return [
    binding('cluster-admin', 'cluster-admin', ['system:masters']),
    binding('system:discovery', 'system:discovery', authenticated),
    binding('system:public-info-viewer', 'system:public-info-viewer', [...authenticated, 'system:unauthenticated']),
    binding('system:basic-user', 'system:basic-user', authenticated),
    binding('system:service-account-issuer-discovery', 'system:service-account-issuer-discovery', ['system:serviceaccounts']),
    binding('kubevirt.io:default', 'kubevirt.io:default', authenticated),
    binding('instancetype.kubevirt.io:view', 'instancetype.kubevirt.io:view', authenticated),
    binding('cdi.kubevirt.io:config-reader', 'cdi.kubevirt.io:config-reader', authenticated),
  ];
}
