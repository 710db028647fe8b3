// What each kind of user may do, written down from the published default roles of Kubernetes 1.26, KubeVirt and CDI and
// from the rules for nodes. Nothing here is read from the server.

export type Persona = 'anonymous' | 'nobody' | 'view' | 'edit' | 'admin' | 'node-own' | 'node-other' | 'cluster-admin';

export const PERSONAS: readonly Persona[] = [
  'anonymous',
  'nobody',
  'view',
  'edit',
  'admin',
  'node-own',
  'node-other',
  'cluster-admin',
];

/** One thing that somebody may try. */
export interface Attempt {
  readonly verb: string;
  readonly group: string;
  /** With the subresource after a slash; empty for paths. */
  readonly resource: string;
  /** The namespace where view, edit and admin have been granted, another one, or none. */
  readonly scope: 'team' | 'foreign' | 'leases' | 'cluster';
  readonly path: string;
  /** Whether the object named is one of the node that asks. */
  readonly isNamed: boolean;
}

const READ = ['get', 'list', 'watch'];
const WRITE = ['create', 'delete', 'deletecollection', 'patch', 'update'];
const CHANGE = ['create', 'delete', 'patch', 'update'];
const ALL = [...READ, ...WRITE];

interface Rule {
  readonly groups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

const rule = (groups: string, resources: string, verbs: readonly string[]): Rule => ({
  groups: groups === 'core' ? [''] : groups.split(' '),
  resources: resources.split(' '),
  verbs,
});

/** Every user who is authenticated, in any namespace and beyond. */
const AUTHENTICATED: readonly Rule[] = [
  rule('authorization.k8s.io', 'selfsubjectaccessreviews selfsubjectrulesreviews', ['create']),
  rule('authentication.k8s.io', 'selfsubjectreviews', ['create']),
  rule('subresources.kubevirt.io', 'version guestfs', ['get', 'list']),
  rule('kubevirt.io', 'kubevirts', ['get', 'list']),
  rule('instancetype.kubevirt.io', 'virtualmachineclusterinstancetypes virtualmachineclusterpreferences', READ),
  rule('cdi.kubevirt.io', 'cdiconfigs storageprofiles', READ),
];

const WORKLOADS = 'daemonsets deployments deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale';

const KUBEVIRT_KINDS: readonly (readonly [string, string])[] = [
  ['kubevirt.io', 'virtualmachines virtualmachineinstances virtualmachineinstancepresets virtualmachineinstancereplicasets'],
  ['snapshot.kubevirt.io', 'virtualmachinesnapshots virtualmachinesnapshotcontents virtualmachinerestores'],
  ['export.kubevirt.io', 'virtualmachineexports'],
  ['backup.kubevirt.io', 'virtualmachinebackups virtualmachinebackuptrackers'],
  ['clone.kubevirt.io', 'virtualmachineclones'],
  ['pool.kubevirt.io', 'virtualmachinepools'],
  [
    'instancetype.kubevirt.io',
    'virtualmachineinstancetypes virtualmachineclusterinstancetypes virtualmachinepreferences virtualmachineclusterpreferences',
  ],
];
const CDI_KINDS = 'datavolumes dataimportcrons datasources volumeimportsources volumeuploadsources volumeclonesources';

const VIEW: readonly Rule[] = [
  rule('core', 'configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods pods/log pods/status', READ),
  rule('core', 'replicationcontrollers replicationcontrollers/scale replicationcontrollers/status serviceaccounts', READ),
  rule('core', 'services services/status bindings events limitranges namespaces namespaces/status', READ),
  rule('core', 'resourcequotas resourcequotas/status', READ),
  rule('discovery.k8s.io', 'endpointslices', READ),
  rule(
    'apps',
    `${WORKLOADS} controllerrevisions daemonsets/status deployments/status replicasets/status statefulsets/status`,
    READ,
  ),
  rule('autoscaling', 'horizontalpodautoscalers horizontalpodautoscalers/status', READ),
  rule('batch', 'cronjobs cronjobs/status jobs jobs/status', READ),
  rule('policy', 'poddisruptionbudgets poddisruptionbudgets/status', READ),
  rule('networking.k8s.io', 'ingresses ingresses/status networkpolicies', READ),
  ...KUBEVIRT_KINDS.map(([group, resources]) => rule(group, resources, READ)),
  rule('kubevirt.io', 'virtualmachineinstancemigrations', READ),
  rule('migrations.kubevirt.io', 'migrationpolicies', READ),
  rule(
    'subresources.kubevirt.io',
    'virtualmachines/expand-spec virtualmachines/objectgraph virtualmachineinstances/guestosinfo virtualmachineinstances/filesystemlist virtualmachineinstances/userlist virtualmachineinstances/objectgraph virtualmachineinstances/sev/fetchcertchain virtualmachineinstances/sev/querylaunchmeasurement',
    ['get'],
  ),
  rule('subresources.kubevirt.io', 'expand-vm-spec', ['update']),
  rule('cdi.kubevirt.io', `${CDI_KINDS} cdiconfigs storageprofiles objecttransfers`, READ),
];

const EDIT: readonly Rule[] = [
  ...VIEW,
  rule('core', 'pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy', [...READ]),
  rule('core', 'pods pods/attach pods/exec pods/portforward pods/proxy services/proxy', WRITE),
  rule('core', 'configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale', WRITE),
  rule('core', 'secrets serviceaccounts services', WRITE),
  rule('core', 'pods/eviction serviceaccounts/token', ['create']),
  rule('apps', `${WORKLOADS} deployments/rollback`, WRITE),
  rule('autoscaling', 'horizontalpodautoscalers', WRITE),
  rule('batch', 'cronjobs jobs', WRITE),
  rule('policy', 'poddisruptionbudgets', WRITE),
  rule('networking.k8s.io', 'ingresses networkpolicies', WRITE),
  rule('coordination.k8s.io', 'leases', ALL),
  // KubeVirt: live migration is granted by a role of its own, deleting whole collections by admin alone
  ...KUBEVIRT_KINDS.map(([group, resources]) => rule(group, resources, CHANGE)),
  rule(
    'subresources.kubevirt.io',
    'virtualmachineinstances/console virtualmachineinstances/vnc virtualmachineinstances/portforward virtualmachineinstances/usbredir virtualmachines/portforward',
    ['get'],
  ),
  rule(
    'subresources.kubevirt.io',
    'virtualmachineinstances/pause virtualmachineinstances/unpause virtualmachineinstances/addvolume virtualmachineinstances/removevolume virtualmachineinstances/freeze virtualmachineinstances/unfreeze virtualmachineinstances/softreboot virtualmachineinstances/reset virtualmachineinstances/sev/setupsession virtualmachineinstances/sev/injectlaunchsecret virtualmachineinstances/evacuate/cancel virtualmachines/start virtualmachines/stop virtualmachines/restart virtualmachines/addvolume virtualmachines/removevolume virtualmachines/memorydump virtualmachines/removememorydump virtualmachines/evacuate/cancel',
    ['update'],
  ),
  rule('cdi.kubevirt.io', CDI_KINDS, ALL),
  rule('cdi.kubevirt.io', 'datavolumes/source', ['create']),
  rule('upload.cdi.kubevirt.io', 'uploadtokenrequests', ALL),
];

const ADMIN: readonly Rule[] = [
  ...EDIT,
  rule('authorization.k8s.io', 'localsubjectaccessreviews', ['create']),
  rule('rbac.authorization.k8s.io', 'roles rolebindings', ALL),
  ...KUBEVIRT_KINDS.map(([group, resources]) => rule(group, resources, WRITE)),
  rule('subresources.kubevirt.io', 'virtualmachineinstances/vnc/screenshot', ['get']),
];

/** What an agent may read whomever it belongs to: it needs it to run guests, and none of it is secret. */
const NODE_READS: readonly Rule[] = [
  rule('core', 'nodes services endpoints persistentvolumes persistentvolumeclaims namespaces pods', READ),
  rule('storage.k8s.io', 'storageclasses volumeattachments csidrivers csinodes', READ),
  rule('kubevirt.io', 'virtualmachineinstances kubevirts virtualmachineinstancemigrations', READ),
  rule('cdi.kubevirt.io', 'datavolumes storageprofiles cdiconfigs volumeclonesources', READ),
  rule('k8s.cni.cncf.io', 'network-attachment-definitions multi-networkpolicies', READ),
  rule('snapshot.storage.k8s.io', 'volumesnapshots volumesnapshotcontents', READ),
  // Services, NetworkPolicies and storage pools are made on each node
  rule('discovery.k8s.io', 'endpointslices', READ),
  rule('networking.k8s.io', 'networkpolicies', READ),
  rule('hostpathprovisioner.kubevirt.io', 'hostpathprovisioners', READ),
];

/** What it may do with an object of its own. */
const NODE_OWN: readonly Rule[] = [
  rule('core', 'nodes nodes/status', ['get', 'create', 'update', 'patch', 'delete']),
  rule('core', 'pods pods/status', ['update', 'patch', 'delete']),
  rule('core', 'persistentvolumes', ['update', 'patch', 'delete']),
  rule('core', 'secrets configmaps serviceaccounts', ['get']),
  rule('core', 'serviceaccounts/token', ['create']),
  rule('core', 'events', ['update', 'patch']),
  rule('kubevirt.io', 'virtualmachineinstances virtualmachineinstances/status', ['update', 'patch']),
  rule('snapshot.storage.k8s.io', 'volumesnapshotcontents volumesnapshotcontents/status', ['update', 'patch']),
  rule('certificates.k8s.io', 'certificatesigningrequests', ['get']),
];

/** Creates name no object in their path: admission looks at the body of these. */
const NODE_CREATES: readonly Rule[] = [
  rule('core', 'nodes persistentvolumes events', ['create']),
  rule('certificates.k8s.io', 'certificatesigningrequests', ['create']),
];
/** Both only in the namespace of node leases. */
const NODE_LEASES: readonly Rule[] = [rule('coordination.k8s.io', 'leases', ['get', 'create', 'update', 'patch', 'delete'])];

const covers = (rules: readonly Rule[], { verb, group, resource }: Attempt): boolean =>
  rules.some(
    (candidate) => candidate.groups.includes(group) && candidate.resources.includes(resource) && candidate.verbs.includes(verb),
  );

const mayCreate = (attempt: Attempt): boolean =>
  !attempt.isNamed &&
  (covers(NODE_CREATES, attempt) || (attempt.scope === 'leases' && attempt.verb === 'create' && covers(NODE_LEASES, attempt)));

const mayChangeOwn = (attempt: Attempt): boolean =>
  covers(NODE_OWN, attempt) || (attempt.scope === 'leases' && covers(NODE_LEASES, attempt));

const PUBLIC = /^\/(version|healthz|livez|readyz)(\/.*)?$/;
const DISCOVERY = /^\/(api|apis|openapi)(\/.*)?$/;

function mayRead(persona: Persona, path: string): boolean {
  if (PUBLIC.test(path) || persona === 'cluster-admin') return true;
  return persona !== 'anonymous' && DISCOVERY.test(path);
}

const TENANT_RULES = { nobody: [], view: VIEW, edit: EDIT, admin: ADMIN } as const;

const isExpectedOfNode = (persona: 'node-own' | 'node-other', attempt: Attempt): boolean =>
  covers(NODE_READS, attempt) || mayCreate(attempt) || (persona === 'node-own' && attempt.isNamed && mayChangeOwn(attempt));

/** Whether a persona may do what it tries. */
export function isExpected(persona: Persona, attempt: Attempt): boolean {
  if (attempt.resource === '') return mayRead(persona, attempt.path);
  // a tunnel is opened by its node alone: no role can give it away
  if (attempt.group === 'node.slipway.dev') return persona === 'node-own';
  if (persona === 'cluster-admin') return true;
  if (persona === 'anonymous') return false;
  if (covers(AUTHENTICATED, attempt)) return true;
  return persona === 'node-own' || persona === 'node-other'
    ? isExpectedOfNode(persona, attempt)
    : attempt.scope === 'team' && covers(TENANT_RULES[persona], attempt);
}
