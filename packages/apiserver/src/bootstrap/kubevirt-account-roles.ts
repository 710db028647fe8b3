import type { PolicyRule } from '@slipway/runtime';

const READ = ['get', 'list', 'watch'];
const CHANGE = [...READ, 'update', 'patch'];
const OWN = [...CHANGE, 'create', 'delete'];
const KUBEVIRT_GROUPS = ['', 'snapshot.', 'export.', 'clone.', 'pool.', 'instancetype.', 'migrations.', 'backup.'].map(
  (prefix) => `${prefix}kubevirt.io`,
);

const rule = (apiGroups: readonly string[], resources: readonly string[], verbs: readonly string[]): PolicyRule => ({
  ...{ apiGroups, resources, verbs },
});
const EVENTS = rule([''], ['events'], ['create', 'patch', 'update']);
const LEASES = rule(['coordination.k8s.io'], ['leases'], OWN);
const INSTANCES = ['virtualmachineinstances', 'virtualmachineinstances/status'];

/**
 * What the service accounts of KubeVirt's components may do. The platform's own controllers have accounts of their own;
 * these are for whatever acts as one of KubeVirt's, such as its tests and tools that borrow the token of a component.
 */
export const KUBEVIRT_ACCOUNT_ROLES: readonly (readonly [account: string, rules: readonly PolicyRule[]])[] = [
  [
    'kubevirt-apiserver',
    [
      rule(['kubevirt.io'], ['virtualmachines', 'virtualmachines/status', ...INSTANCES], CHANGE),
      rule(['kubevirt.io'], ['virtualmachineinstancemigrations'], ['create', ...READ]),
      rule(['kubevirt.io'], ['kubevirts', 'virtualmachineinstancepresets'], READ),
      rule(KUBEVIRT_GROUPS.slice(1), ['*'], READ),
      rule(['authorization.k8s.io'], ['subjectaccessreviews'], ['create']),
      rule([''], ['pods', 'persistentvolumeclaims', 'namespaces', 'nodes'], READ),
      rule(['cdi.kubevirt.io'], ['datavolumes', 'datasources'], READ),
      EVENTS,
    ],
  ],
  [
    'kubevirt-controller',
    [
      rule(KUBEVIRT_GROUPS, ['*'], OWN),
      rule([''], ['pods', 'pods/status', 'persistentvolumeclaims', 'services', 'configmaps'], OWN),
      rule([''], ['pods/eviction'], ['create']),
      rule([''], ['nodes', 'namespaces', 'persistentvolumes', 'limitranges', 'resourcequotas'], READ),
      rule(['apps'], ['controllerrevisions'], OWN),
      rule(['policy'], ['poddisruptionbudgets'], OWN),
      rule(['cdi.kubevirt.io'], ['*'], OWN),
      rule(['snapshot.storage.k8s.io'], ['volumesnapshots', 'volumesnapshotclasses', 'volumesnapshotcontents'], OWN),
      rule(['storage.k8s.io'], ['storageclasses'], READ),
      LEASES,
      EVENTS,
    ],
  ],
  [
    'kubevirt-handler',
    [
      rule(['kubevirt.io'], INSTANCES, CHANGE),
      // more than upstream: recorded cases of admission have the states of other objects set up by this account
      rule(['kubevirt.io'], ['virtualmachines/status'], CHANGE),
      rule(['snapshot.kubevirt.io'], ['virtualmachinesnapshots/status', 'virtualmachinerestores/status'], CHANGE),
      rule(['kubevirt.io'], ['virtualmachineinstancemigrations', 'kubevirts'], READ),
      rule(['migrations.kubevirt.io'], ['migrationpolicies'], READ),
      rule([''], ['nodes', 'nodes/status'], CHANGE),
      rule([''], ['pods', 'persistentvolumeclaims', 'configmaps'], READ),
      EVENTS,
    ],
  ],
  [
    'kubevirt-operator',
    [
      rule(KUBEVIRT_GROUPS, ['*'], OWN),
      rule([''], ['pods', 'nodes', 'namespaces', 'serviceaccounts', 'services', 'configmaps'], READ),
      rule(['scheduling.k8s.io'], ['priorityclasses'], OWN),
      rule(['apiextensions.k8s.io'], ['customresourcedefinitions'], READ),
      LEASES,
      EVENTS,
    ],
  ],
];
