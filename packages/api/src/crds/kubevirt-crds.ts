import type { StructuralSchema } from '@slipway/apimachinery';
import definitions from '../../schemas/kubevirt.json' with { type: 'json' };
import { type CrdRow, type CustomResourceDefinition, customResourceDefinition } from './crd-table.ts';
import { type Constraints, type OpenApiDefinitions, rootSchema, schemaResolver } from './openapi-schemas.ts';

const max256 = { maxItems: 256 };
const downtime = { minimum: 1, maximum: 2_000_000 };
const choice = (...values: string[]): StructuralSchema => ({ enum: values });

/** What the CRDs check beyond types and required fields. */
const CONSTRAINTS: Constraints = {
  'v1.VirtualMachineInstanceSpec.volumes': max256,
  'v1.VirtualMachineInstanceSpec.networks': max256,
  'v1.VirtualMachineInstanceSpec.accessCredentials': max256,
  'v1.VirtualMachineInstanceSpec.utilityVolumes': max256,
  'v1.Devices.disks': max256,
  'v1.Devices.interfaces': max256,
  'v1.DomainSpec.rebootPolicy': choice('Reboot', 'Terminate'),
  'v1.ReservedOverhead.memLock': choice('NotRequired', 'Required'),
  'v1.ContainerPathVolumeSource.path': { maxLength: 4096 },
  'v1.ContainerPathVolumeSource.readOnly': { default: true },
  'v1.VirtualMachineStatus.printableStatus': { default: 'Stopped' },
  'v1beta1.DataVolumeSpec.contentType': choice('kubevirt', 'archive'),
  'v1.KubeVirtConfiguration.vmRolloutStrategy': { ...choice('Stage', 'LiveUpdate'), nullable: true },
  'v1.KubeVirtConfiguration.roleAggregationStrategy': { ...choice('AggregateToDefault', 'Manual'), nullable: true },
  'v1.KubeVirtConfiguration.hypervisors': { maxItems: 1 },
  'v1.HypervisorConfiguration.name': choice('kvm', 'hyperv-direct'),
  'v1.InstancetypeConfiguration.referencePolicy': { ...choice('reference', 'expand', 'expandAll'), nullable: true },
  'v1.TLSConfiguration.minTLSVersion': choice('VersionTLS10', 'VersionTLS11', 'VersionTLS12', 'VersionTLS13'),
  'v1.DeveloperConfiguration.memoryOvercommit': { minimum: 10 },
  'v1.MigrationConfiguration.maxDowntimeMs': downtime,
  'v1.VMIMConfigurationOptions.maxDowntimeMs': downtime,
  'v1alpha1.MigrationPolicySpec.maxDowntimeMs': downtime,
  'v1.StallDetectorOptions.stallMargin': { minimum: 0, maximum: 100 },
  'v1.ExperimentalMigrationOptions.compression': choice('none', 'zstd'),
  'v1beta1.VirtualMachineRestoreSpec.targetReadinessPolicy': {
    ...choice('WaitGracePeriod', 'StopTarget', 'FailImmediate', 'WaitEventually'),
    default: 'WaitGracePeriod',
  },
  'v1beta1.VirtualMachineCloneSpec.volumeNamePolicy': choice('RandomizeNames', 'PrefixTargetName'),
  'v1beta1.VirtualMachinePoolSpec.replicas': { minimum: 0 },
  'v1beta1.VirtualMachinePoolAutohealingStrategy.startUpFailureThreshold': { minimum: 1 },
  'v1beta1.VirtualMachinePoolOpportunisticScaleInStrategy.statePreservation': choice('Disabled', 'Offline', 'Online'),
  'v1beta1.VirtualMachinePoolProactiveScaleInStrategy.statePreservation': choice('Disabled', 'Offline', 'Online'),
  'v1beta1.VirtualMachinePoolSelectionPolicy.sortPolicy': choice(
    'Random',
    'AscendingOrder',
    'DescendingOrder',
    'Newest',
    'Oldest',
  ),
  'v1beta1.MemoryInstancetype.overcommitPercent': { minimum: 0, maximum: 100 },
  'v1.PersistentVolumeClaimInfo.filesystemOverhead': { pattern: '^(0(?:\\.\\d{1,3})?|1)$' },
  'v1alpha1.VirtualMachineBackupSpec.mode': choice('Push', 'Pull'),
  'v1alpha1.VirtualMachineBackup.spec': {
    'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'spec is immutable' }],
  },
};

const LABEL = { 'kubevirt.io': '' };
const REPLICA_COLUMNS =
  'Desired:integer=.spec.replicas; Current:integer=.status.replicas; Ready:integer=.status.readyReplicas; Age';
const READY = "Ready=.status.conditions[?(@.type=='Ready')].status";
const SOURCE = 'SourceKind=.spec.source.kind; SourceName=.spec.source.name';

type Row = Omit<CrdRow, 'schema' | 'labels'> & { readonly definition: string };

const kubevirt = (row: Omit<Row, 'group' | 'versions' | 'definition' | 'all'>, versions = 'v1* v1alpha3!'): Row => ({
  ...row,
  group: 'kubevirt.io',
  versions,
  all: true,
  definition: `v1.${row.kind}`,
});
const snapshot = (kind: string, shortNames: string, columns: string): Row => ({
  kind,
  group: 'snapshot.kubevirt.io',
  plural: `${kind.toLowerCase()}s`,
  versions: 'v1beta1* v1alpha1',
  shortNames,
  all: true,
  status: true,
  columns,
  definition: `v1beta1.${kind}`,
});
const backup = (kind: string, shortNames: string, columns: string): Row => ({
  ...snapshot(kind, shortNames, columns),
  group: 'backup.kubevirt.io',
  versions: 'v1alpha1*',
  definition: `v1alpha1.${kind}`,
});
const instancetype = (kind: string, shortNames: string): Row => {
  const cluster = kind.includes('Cluster');
  const plural = `${kind.toLowerCase()}s`;
  return {
    kind,
    group: 'instancetype.kubevirt.io',
    plural,
    // the alpha levels have the same shape; clients of KubeVirt 1.1 still speak them
    versions: 'v1beta1* v1alpha2! v1alpha1!',
    shortNames,
    cluster,
    all: !cluster,
    definition: `v1beta1.${kind}`,
  };
};

const ROWS: readonly Row[] = [
  kubevirt({
    kind: 'VirtualMachine',
    plural: 'virtualmachines',
    shortNames: 'vm vms',
    status: true,
    columns: `Age; Status=.status.printableStatus; ${READY}`,
  }),
  kubevirt({
    kind: 'VirtualMachineInstance',
    plural: 'virtualmachineinstances',
    shortNames: 'vmi vmis',
    columns: [
      'Age; Phase=.status.phase; IP=.status.interfaces[0].ipAddress; NodeName=.status.nodeName',
      READY,
      "Live-Migratable/1=.status.conditions[?(@.type=='LiveMigratable')].status",
      "Paused/1=.status.conditions[?(@.type=='Paused')].status",
    ].join('; '),
  }),
  kubevirt(
    {
      kind: 'VirtualMachineInstancePreset',
      plural: 'virtualmachineinstancepresets',
      shortNames: 'vmipreset vmipresets',
      deprecationWarning: 'kubevirt.io/v1 VirtualMachineInstancePresets is now deprecated and will be removed in v2.',
    },
    'v1! v1alpha3*!',
  ),
  kubevirt({
    kind: 'VirtualMachineInstanceReplicaSet',
    plural: 'virtualmachineinstancereplicasets',
    shortNames: 'vmirs vmirss',
    status: true,
    scale: true,
    columns: REPLICA_COLUMNS,
  }),
  kubevirt({
    kind: 'VirtualMachineInstanceMigration',
    plural: 'virtualmachineinstancemigrations',
    shortNames: 'vmim vmims',
    status: true,
    columns: 'Phase=.status.phase; VMI=.spec.vmiName',
  }),
  kubevirt({ kind: 'KubeVirt', plural: 'kubevirts', shortNames: 'kv kvs', status: true, columns: 'Age; Phase=.status.phase' }),
  {
    kind: 'VirtualMachinePool',
    group: 'pool.kubevirt.io',
    plural: 'virtualmachinepools',
    versions: 'v1beta1* v1alpha1',
    shortNames: 'vmpool vmpools',
    all: true,
    status: true,
    scale: true,
    columns: REPLICA_COLUMNS,
    definition: 'v1beta1.VirtualMachinePool',
  },
  snapshot(
    'VirtualMachineSnapshot',
    'vmsnapshot vmsnapshots',
    `${SOURCE}; Phase=.status.phase; ReadyToUse:boolean=.status.readyToUse; CreationTime:date=.status.creationTime; Error=.status.error.message`,
  ),
  snapshot(
    'VirtualMachineSnapshotContent',
    'vmsnapshotcontent vmsnapshotcontents',
    'ReadyToUse:boolean=.status.readyToUse; CreationTime:date=.status.creationTime; Error=.status.error.message',
  ),
  snapshot(
    'VirtualMachineRestore',
    'vmrestore vmrestores',
    'TargetKind=.spec.target.kind; TargetName=.spec.target.name; Complete:boolean=.status.complete; RestoreTime:date=.status.restoreTime',
  ),
  {
    ...snapshot('VirtualMachineExport', 'vmexport vmexports', `${SOURCE}; Phase=.status.phase`),
    group: 'export.kubevirt.io',
    versions: 'v1* v1beta1! v1alpha1!', // virtctl 1.1 speaks v1alpha1
    definition: 'v1.VirtualMachineExport',
  },
  {
    ...snapshot(
      'VirtualMachineClone',
      'vmclone vmclones',
      'Phase=.status.phase; SourceVirtualMachine=.spec.source.name; TargetVirtualMachine=.spec.target.name',
    ),
    group: 'clone.kubevirt.io',
  },
  backup('VirtualMachineBackup', 'vmbackup vmbackups', `${SOURCE}; Type=.status.type; CheckpointName=.status.checkpointName`),
  backup(
    'VirtualMachineBackupTracker',
    'vmbackuptracker vmbackuptrackers',
    `${SOURCE}; LatestCheckpoint=.status.latestCheckpoint.name; CheckpointTime:date=.status.latestCheckpoint.creationTime`,
  ),
  instancetype('VirtualMachineInstancetype', 'vminstancetype vminstancetypes vmf vmfs'),
  instancetype('VirtualMachineClusterInstancetype', 'vmclusterinstancetype vmclusterinstancetypes vmcf vmcfs'),
  instancetype('VirtualMachinePreference', 'vmpref vmprefs vmp vmps'),
  instancetype('VirtualMachineClusterPreference', 'vmcp vmcps'),
  {
    kind: 'MigrationPolicy',
    group: 'migrations.kubevirt.io',
    plural: 'migrationpolicies',
    versions: 'v1alpha1*',
    cluster: true,
    status: true,
    definition: 'v1alpha1.MigrationPolicy',
  },
  {
    kind: 'Plugin',
    group: 'plugin.kubevirt.io',
    plural: 'plugins',
    versions: 'v1alpha1*',
    cluster: true,
    definition: 'v1alpha1.Plugin',
  },
];

/** Every KubeVirt kind; the schemas are built by this call. */
export function kubevirtCustomResourceDefinitions(): CustomResourceDefinition[] {
  // the table is generated; its shape is that of OpenAPI definitions
  const resolve = schemaResolver(definitions as unknown as OpenApiDefinitions, CONSTRAINTS);
  return ROWS.map(({ definition, ...row }) => {
    const schema = rootSchema(resolve(definition));
    const labels = row.kind === 'KubeVirt' ? { 'operator.kubevirt.io': '' } : LABEL;
    return customResourceDefinition({ ...row, labels, schema: () => schema });
  });
}
