import type { UnstructuredObject } from '@slipway/apimachinery';
import { type PolicyRule, RBAC_GROUP } from '../authz/rbac.ts';

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

const KUBEVIRT_RULES_VIEW = [
  rule(
    [
      'kubevirt.io',
      'snapshot.kubevirt.io',
      'clone.kubevirt.io',
      'export.kubevirt.io',
      'pool.kubevirt.io',
      'instancetype.kubevirt.io',
      'migrations.kubevirt.io',
    ],
    ALL,
    READ,
  ),
  rule(
    ['subresources.kubevirt.io'],
    [
      'virtualmachineinstances/guestosinfo',
      'virtualmachineinstances/filesystemlist',
      'virtualmachineinstances/userlist',
      'virtualmachines/expand-spec',
    ],
    ['get'],
  ),
  rule(['cdi.kubevirt.io'], ALL, READ),
];
const KUBEVIRT_RULES_EDIT = [
  rule(
    ['kubevirt.io'],
    [
      'virtualmachines',
      'virtualmachineinstances',
      'virtualmachineinstancepresets',
      'virtualmachineinstancereplicasets',
      'virtualmachineinstancemigrations',
    ],
    WRITE,
  ),
  rule(
    ['snapshot.kubevirt.io', 'clone.kubevirt.io', 'export.kubevirt.io', 'pool.kubevirt.io', 'instancetype.kubevirt.io'],
    ALL,
    WRITE,
  ),
  rule(
    ['subresources.kubevirt.io'],
    [
      'virtualmachineinstances/console',
      'virtualmachineinstances/vnc',
      'virtualmachineinstances/vnc/screenshot',
      'virtualmachineinstances/portforward',
      'virtualmachines/portforward',
      'virtualmachineinstances/usbredir',
    ],
    ['get'],
  ),
  rule(
    ['subresources.kubevirt.io'],
    [
      'virtualmachines/start',
      'virtualmachines/stop',
      'virtualmachines/restart',
      'virtualmachines/migrate',
      'virtualmachines/addvolume',
      'virtualmachines/removevolume',
      'virtualmachines/memorydump',
      'virtualmachineinstances/pause',
      'virtualmachineinstances/unpause',
      'virtualmachineinstances/freeze',
      'virtualmachineinstances/unfreeze',
      'virtualmachineinstances/softreboot',
      'virtualmachineinstances/addvolume',
      'virtualmachineinstances/removevolume',
    ],
    ['update'],
  ),
  rule(
    ['cdi.kubevirt.io'],
    ['datavolumes', 'dataimportcrons', 'datasources', 'volumeimportsources', 'volumeuploadsources', 'volumeclonesources'],
    WRITE,
  ),
  rule(['cdi.kubevirt.io'], ['datavolumes/source'], ['create']),
  rule(['upload.cdi.kubevirt.io'], ['uploadtokenrequests'], ['create']),
];

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

const kubevirt = (name: string, rules: readonly PolicyRule[], labels: Record<string, string> = {}): UnstructuredObject => ({
  ...clusterRole(name, rules, labels),
});

/** Cluster roles every Kubernetes cluster has, and those of KubeVirt and CDI. */
export function defaultClusterRoles(): UnstructuredObject[] {
  const view = [...VIEW_RULES, ...KUBEVIRT_RULES_VIEW];
  const edit = [...EDIT_RULES, ...KUBEVIRT_RULES_EDIT, ...view];
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
    ]),
    clusterRole('system:service-account-issuer-discovery', [urls(['/.well-known/openid-configuration', '/openid/v1/jwks'])]),
    clusterRole('system:auth-delegator', [
      rule(['authentication.k8s.io'], ['tokenreviews'], ['create']),
      rule(['authorization.k8s.io'], ['subjectaccessreviews'], ['create']),
    ]),
    aggregated('admin', [...ADMIN_RULES, ...edit]),
    aggregated('edit', edit, aggregate('admin')),
    aggregated('view', view, aggregate('edit')),
    clusterRole('system:aggregate-to-admin', ADMIN_RULES, aggregate('admin')),
    clusterRole('system:aggregate-to-edit', EDIT_RULES, aggregate('edit')),
    clusterRole('system:aggregate-to-view', VIEW_RULES, aggregate('view')),
    kubevirt('kubevirt.io:view', KUBEVIRT_RULES_VIEW, aggregate('view')),
    kubevirt('kubevirt.io:edit', [...KUBEVIRT_RULES_EDIT, ...KUBEVIRT_RULES_VIEW], aggregate('edit')),
    kubevirt('kubevirt.io:admin', [...KUBEVIRT_RULES_EDIT, ...KUBEVIRT_RULES_VIEW], aggregate('admin')),
    kubevirt('kubevirt.io:default', [rule(['subresources.kubevirt.io'], ['version', 'guestfs'], ['get', 'list'])]),
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
  ];
}
