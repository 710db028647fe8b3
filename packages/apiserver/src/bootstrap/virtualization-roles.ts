import type { PolicyRule } from '@slipway/runtime';

const READ = ['get', 'list', 'watch'];
const WRITE = ['create', 'delete', 'patch', 'update'];
const SUBRESOURCES = 'subresources.kubevirt.io';

const rule = (group: string, resources: readonly string[], verbs: readonly string[]): PolicyRule => ({
  apiGroups: [group],
  resources,
  verbs,
});

/** Kinds that a tenant works with. Migrations are not among them: KubeVirt grants those by a role of their own. */
const TENANT_KINDS: readonly (readonly [string, readonly string[]])[] = [
  [
    'kubevirt.io',
    ['virtualmachines', 'virtualmachineinstances', 'virtualmachineinstancepresets', 'virtualmachineinstancereplicasets'],
  ],
  ['snapshot.kubevirt.io', ['virtualmachinesnapshots', 'virtualmachinesnapshotcontents', 'virtualmachinerestores']],
  ['export.kubevirt.io', ['virtualmachineexports']],
  ['backup.kubevirt.io', ['virtualmachinebackups', 'virtualmachinebackuptrackers']],
  ['clone.kubevirt.io', ['virtualmachineclones']],
  ['pool.kubevirt.io', ['virtualmachinepools']],
  [
    'instancetype.kubevirt.io',
    [
      'virtualmachineinstancetypes',
      'virtualmachineclusterinstancetypes',
      'virtualmachinepreferences',
      'virtualmachineclusterpreferences',
    ],
  ],
];

const CLUSTER_INSTANCETYPES = rule(
  'instancetype.kubevirt.io',
  ['virtualmachineclusterinstancetypes', 'virtualmachineclusterpreferences'],
  READ,
);
const KUBEVIRTS = rule('kubevirt.io', ['kubevirts'], ['get', 'list']);

const tenantRules = (verbs: readonly string[]): PolicyRule[] =>
  TENANT_KINDS.map(([group, resources]) => rule(group, resources, verbs));

const QUESTIONS = [
  'virtualmachines/expand-spec',
  'virtualmachines/objectgraph',
  'virtualmachineinstances/guestosinfo',
  'virtualmachineinstances/filesystemlist',
  'virtualmachineinstances/userlist',
  'virtualmachineinstances/objectgraph',
  'virtualmachineinstances/sev/fetchcertchain',
  'virtualmachineinstances/sev/querylaunchmeasurement',
];
const STREAMS = [
  'virtualmachineinstances/console',
  'virtualmachineinstances/vnc',
  'virtualmachineinstances/portforward',
  'virtualmachineinstances/usbredir',
  'virtualmachines/portforward',
];
const ACTIONS = [
  ...['pause', 'unpause', 'addvolume', 'removevolume', 'freeze', 'unfreeze', 'softreboot', 'reset', 'evacuate/cancel'].map(
    (name) => `virtualmachineinstances/${name}`,
  ),
  ...['sev/setupsession', 'sev/injectlaunchsecret'].map((name) => `virtualmachineinstances/${name}`),
  ...['start', 'stop', 'restart', 'addvolume', 'removevolume', 'memorydump', 'removememorydump', 'evacuate/cancel'].map(
    (name) => `virtualmachines/${name}`,
  ),
];

/** Role `kubevirt.io:view`. */
export const KUBEVIRT_VIEW: readonly PolicyRule[] = [
  ...tenantRules(READ),
  rule('kubevirt.io', ['virtualmachineinstancemigrations'], READ),
  rule('migrations.kubevirt.io', ['migrationpolicies'], READ),
  rule(SUBRESOURCES, QUESTIONS, ['get']),
  rule(SUBRESOURCES, ['expand-vm-spec'], ['update']),
  KUBEVIRTS,
];

/** Role `kubevirt.io:edit`: neither whole collections nor pictures of the screen. */
export const KUBEVIRT_EDIT: readonly PolicyRule[] = [
  ...KUBEVIRT_VIEW,
  ...tenantRules(WRITE),
  rule(SUBRESOURCES, STREAMS, ['get']),
  rule(SUBRESOURCES, ACTIONS, ['update']),
];

/** Role `kubevirt.io:admin`. */
export const KUBEVIRT_ADMIN: readonly PolicyRule[] = [
  ...KUBEVIRT_EDIT,
  ...tenantRules(['deletecollection']),
  rule(SUBRESOURCES, ['virtualmachineinstances/vnc/screenshot'], ['get']),
  rule('plugin.kubevirt.io', ['plugins'], [...READ, ...WRITE, 'deletecollection']),
];

/** Role `kubevirt.io:migrate`, which no other role includes. */
export const KUBEVIRT_MIGRATE: readonly PolicyRule[] = [
  rule(SUBRESOURCES, ['virtualmachines/migrate'], ['update']),
  rule('kubevirt.io', ['virtualmachineinstancemigrations'], [...READ, ...WRITE, 'deletecollection']),
];

/** Role `kubevirt.io:operator`, for whom an administrator lets configure KubeVirt; no other role includes it. */
export const KUBEVIRT_OPERATOR: readonly PolicyRule[] = [
  rule('kubevirt.io', ['kubevirts'], [...READ, ...WRITE, 'deletecollection']),
];

/** Role `kubevirt.io:default`, for everybody who is known. */
export const KUBEVIRT_DEFAULT: readonly PolicyRule[] = [rule(SUBRESOURCES, ['version', 'guestfs'], ['get', 'list']), KUBEVIRTS];

/** Role `instancetype.kubevirt.io:view`, for everybody who is known. */
export const INSTANCETYPE_VIEW: readonly PolicyRule[] = [CLUSTER_INSTANCETYPES];

const CDI_KINDS = [
  'datavolumes',
  'dataimportcrons',
  'datasources',
  'volumeimportsources',
  'volumeuploadsources',
  'volumeclonesources',
];

/** Role `cdi.kubevirt.io:view`. */
export const CDI_VIEW: readonly PolicyRule[] = [
  rule('cdi.kubevirt.io', [...CDI_KINDS, 'cdiconfigs', 'storageprofiles', 'objecttransfers'], READ),
];

/** Roles `cdi.kubevirt.io:admin` and `cdi.kubevirt.io:edit`. */
export const CDI_EDIT: readonly PolicyRule[] = [
  rule('cdi.kubevirt.io', CDI_KINDS, ['*']),
  rule('cdi.kubevirt.io', ['datavolumes/source'], ['create']),
  rule('upload.cdi.kubevirt.io', ['uploadtokenrequests'], ['*']),
];

/** Role `cdi.kubevirt.io:config-reader`, for everybody who is known. */
export const CDI_CONFIG_READER: readonly PolicyRule[] = [rule('cdi.kubevirt.io', ['cdiconfigs', 'storageprofiles'], READ)];

/** Role `cdi.kubevirt.io:clone-sourcer`. */
export const CDI_CLONE_SOURCER: readonly PolicyRule[] = [rule('cdi.kubevirt.io', ['datavolumes/source'], ['create'])];
