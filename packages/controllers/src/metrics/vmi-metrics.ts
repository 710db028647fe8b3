import type { kubevirt, VirtualMachineInstance, VirtualMachineInstanceMigration } from '@slipway/api';
import type { MetricFamily } from '@slipway/runtime';
import { annotationOf, Families, type Labels, secondsOf } from './families.ts';
import { vnicLabels } from './vm-metrics.ts';

const declared = (): Families =>
  new Families().declare('gauge', {
    kubevirt_vmi_info: 'Information about VirtualMachineInstances.',
    kubevirt_vmi_non_evictable:
      'Indication for a VirtualMachine that its eviction strategy is set to Live Migration but is not migratable.',
    kubevirt_vmi_number_of_outdated:
      'Indication for the total number of VirtualMachineInstance workloads that are not running within the most up-to-date version of the virt-launcher environment.',
    kubevirt_vmi_status_addresses:
      "The addresses of a VirtualMachineInstance. This metric provides the address of an available network interface associated with the VMI in the 'address' label, and about the type of address, such as internal IP, in the 'type' label.",
    kubevirt_vmi_vnic_info:
      'Details of VirtualMachineInstance (VMI) vNIC interfaces, such as vNIC name, binding type, network name, and binding name for each vNIC of a running instance.',
    kubevirt_vmi_migrations_in_pending_phase: 'Number of current pending migrations.',
    kubevirt_vmi_migrations_in_scheduling_phase: 'Number of current scheduling migrations.',
    kubevirt_vmi_migrations_in_running_phase: 'Number of current running migrations.',
    kubevirt_vmi_migrations_in_unset_phase:
      "Number of current unset migrations. These are pending items the virt-controller hasn't processed yet from the queue.",
    kubevirt_vmi_migration_succeeded: 'Indicates if the VMI migration succeeded.',
    kubevirt_vmi_migration_failed: 'Indicates if the VMI migration failed.',
    kubevirt_vmi_migration_start_time_seconds: 'The time at which the migration started.',
    kubevirt_vmi_migration_end_time_seconds: 'The time at which the migration ended.',
    kubevirt_vmi_launcher_memory_overhead_bytes:
      "Estimation of the memory amount required for virt-launcher's infrastructure components (e.g. libvirt, QEMU).",
    kubevirt_vmsnapshot_succeeded_timestamp_seconds: 'The timestamp of successful virtual machine snapshot.',
  });

/** Labels that every metric of a guest has. */
export const guestIdentity = ({ metadata, status }: VirtualMachineInstance) => ({
  node: status?.nodeName,
  namespace: metadata.namespace,
  name: metadata.name,
});

export interface InstanceFacts {
  /** Bytes that the launcher needs beside the guest. */
  readonly overhead: (vmi: VirtualMachineInstance) => number;
  readonly snapshots: readonly kubevirt.VirtualMachineSnapshot[];
}

/** Metrics of instances, their migrations and snapshots, as the objects say. */
export function vmiMetrics(
  vmis: readonly VirtualMachineInstance[],
  migrations: readonly VirtualMachineInstanceMigration[],
  { overhead, snapshots }: InstanceFacts,
): MetricFamily[] {
  const families = declared();
  families.add('kubevirt_vmi_number_of_outdated', {}, vmis.filter(isOutdated).length);
  for (const vmi of vmis) {
    addInfo(families, vmi);
    addNetwork(families, vmi);
    const { namespace, name } = vmi.metadata;
    families.add('kubevirt_vmi_launcher_memory_overhead_bytes', { namespace, name }, overhead(vmi));
  }
  addMigrations(families, migrations);
  for (const snapshot of snapshots) addSnapshot(families, snapshot);
  return families.list();
}

const hasCondition = ({ status }: VirtualMachineInstance, wanted: string, value: string): boolean =>
  (status?.conditions ?? []).some((condition) => condition.type === wanted && condition.status === value);

/** Its launcher is older than the platform. */
const isOutdated = ({ metadata }: VirtualMachineInstance): boolean =>
  metadata.labels?.['kubevirt.io/outdatedLauncherImage'] !== undefined;

function addInfo(families: Families, vmi: VirtualMachineInstance): void {
  const { metadata, status, spec } = vmi;
  const of = (name: string): string => annotationOf(metadata.annotations, `vm.kubevirt.io/${name}`);
  const type = (kind: string): string =>
    annotationOf(metadata.annotations, `kubevirt.io/${kind}-name`, `kubevirt.io/cluster-${kind}-name`);
  const isEvictable = hasCondition(vmi, 'LiveMigratable', 'True');
  families.add(
    'kubevirt_vmi_info',
    {
      ...guestIdentity(vmi),
      phase: status?.phase?.toLowerCase(),
      ...{ os: of('os'), workload: of('workload'), flavor: of('flavor') },
      ...{ instance_type: type('instancetype'), preference: type('preference') },
      ...guestSystem(vmi),
      evictable: String(isEvictable),
      outdated: String(isOutdated(vmi)),
      vmi_pod: Object.keys(status?.activePods ?? {})[0],
    },
    1,
  );
  const isStuck = spec.evictionStrategy === 'LiveMigrate' && !isEvictable;
  families.add('kubevirt_vmi_non_evictable', guestIdentity(vmi), isStuck ? 1 : 0);
}

function guestSystem({ status }: VirtualMachineInstance): Labels {
  const { kernelRelease, machine, name, versionId } = status?.guestOSInfo ?? {};
  return {
    guest_os_kernel_release: kernelRelease,
    guest_os_machine: machine,
    guest_os_arch: machine,
    guest_os_name: name,
    guest_os_version_id: versionId,
  };
}

function addNetwork(families: Families, vmi: VirtualMachineInstance): void {
  const id = guestIdentity(vmi);
  for (const { name = '', interfaceName = '', ipAddresses = [] } of vmi.status?.interfaces ?? [])
    for (const address of ipAddresses) {
      const labels = { ...id, vnic_name: name, interface_name: interfaceName, address, type: 'InternalIP' };
      families.add('kubevirt_vmi_status_addresses', labels, 1);
    }
  for (const labels of vnicLabels(vmi.spec.domain.devices.interfaces ?? [], vmi.spec.networks ?? []))
    families.add('kubevirt_vmi_vnic_info', { namespace: id.namespace, name: id.name, ...labels }, 1);
}

function addSnapshot(families: Families, { metadata, spec, status }: kubevirt.VirtualMachineSnapshot): void {
  if (status?.phase !== 'Succeeded') return;
  const labels = { name: spec.source.name, snapshot_name: metadata.name, namespace: metadata.namespace };
  families.add('kubevirt_vmsnapshot_succeeded_timestamp_seconds', labels, secondsOf(status.creationTime));
}

const PHASES: Readonly<Record<string, readonly string[]>> = {
  pending: ['Pending'],
  scheduling: ['Scheduling', 'Scheduled', 'PreparingTarget', 'TargetReady', 'WaitingForSync', 'Synchronizing'],
  running: ['Running'],
  unset: [''],
};

function addMigrations(families: Families, migrations: readonly VirtualMachineInstanceMigration[]): void {
  const phaseOf = ({ status }: VirtualMachineInstanceMigration): string => status?.phase ?? '';
  for (const [name, phases] of Object.entries(PHASES)) {
    const count = migrations.filter((migration) => phases.includes(phaseOf(migration))).length;
    families.add(`kubevirt_vmi_migrations_in_${name}_phase`, {}, count);
  }
  for (const migration of migrations) addMigration(families, migration);
}

function addMigration(families: Families, { metadata, spec, status }: VirtualMachineInstanceMigration): void {
  const { namespace, name: vmim } = metadata;
  const vmi = spec.vmiName;
  const { sourceNode, startTimestamp, endTimestamp, failed } = status?.migrationState ?? {};
  if (status?.phase === 'Succeeded') families.add('kubevirt_vmi_migration_succeeded', { vmi, vmim, namespace }, 1);
  if (status?.phase === 'Failed') families.add('kubevirt_vmi_migration_failed', { vmi, vmim, namespace }, 1);
  const labels = { node: sourceNode, namespace, name: vmi, migration_name: vmim };
  families.add('kubevirt_vmi_migration_start_time_seconds', labels, secondsOf(startTimestamp));
  const end = { ...labels, status: failed ? 'failed' : 'succeeded' };
  families.add('kubevirt_vmi_migration_end_time_seconds', end, secondsOf(endTimestamp));
}
