import { chosen, type Dashboard, graph, NAMESPACE, rate, type Row, stat, type Table } from './dashboard.ts';

const VM_NAME = '{{namespace}}/{{name}}';
const DAY = 86_400;

const ended = (status: string, ...more: readonly string[]): string =>
  chosen('kubevirt_vmi_migration_end_time_seconds', `status="${status}"`, ...more);
const endedToday = (status: string): string => `count(${ended(status)} > time() - ${DAY}) or vector(0)`;
const MOVE = 'namespace, name, migration_name, node';
const durations = `max by (${MOVE}, status) (${chosen('kubevirt_vmi_migration_end_time_seconds')}) - on (${MOVE}) group_left () max by (${MOVE}) (${chosen('kubevirt_vmi_migration_start_time_seconds')})`;

const last: Table = {
  type: 'table',
  title: 'Migrations and how long they took',
  unit: 's',
  description: 'Those whose objects still exist.',
  expr: durations,
  columns: {
    namespace: 'Namespace',
    name: 'Virtual machine',
    migration_name: 'Migration',
    node: 'From node',
    status: 'Result',
  },
  valueTitle: 'Duration',
};

const stuck: Table = {
  type: 'table',
  title: 'Instances that cannot move',
  unit: 'short',
  description: 'They want to move away from a node in maintenance, and would stop its drain.',
  expr: `sum by (namespace, name, node) (${chosen('kubevirt_vmi_non_evictable')}) > 0`,
  columns: { namespace: 'Namespace', name: 'Virtual machine', node: 'Node' },
};

const overview: Row = {
  title: 'Migrations',
  panels: [
    stat('Waiting', 'short', 'In phase Pending, in all namespaces.', 'sum(kubevirt_vmi_migrations_in_pending_phase)'),
    stat('Being prepared', 'short', 'Until the target is ready.', 'sum(kubevirt_vmi_migrations_in_scheduling_phase)'),
    stat('Running', 'short', 'Memory is on its way.', 'sum(kubevirt_vmi_migrations_in_running_phase)'),
    stat('Done today', 'short', 'Succeeded within 24 hours.', endedToday('succeeded')),
    stat('Failed today', 'short', 'Failed within 24 hours.', endedToday('failed')),
    stat(
      'Cannot move',
      'short',
      'Instances that want to move away from a node in maintenance and cannot.',
      `sum(${chosen('kubevirt_vmi_non_evictable')}) or vector(0)`,
    ),
    graph('By phase', 'short', 'In all namespaces.', {
      waiting: 'sum(kubevirt_vmi_migrations_in_pending_phase)',
      'being prepared': 'sum(kubevirt_vmi_migrations_in_scheduling_phase)',
      running: 'sum(kubevirt_vmi_migrations_in_running_phase)',
      'not looked at yet': 'sum(kubevirt_vmi_migrations_in_unset_phase)',
    }),
    graph('Results', 'short', 'Migrations whose objects still exist.', {
      succeeded: `sum(${chosen('kubevirt_vmi_migration_succeeded')}) or vector(0)`,
      failed: `sum(${chosen('kubevirt_vmi_migration_failed')}) or vector(0)`,
    }),
    last,
    stuck,
  ],
};

const percentile = (share: number): string =>
  `histogram_quantile(${share}, sum by (le, phase) (${rate('kubevirt_vmi_migration_phase_transition_time_from_creation_seconds_bucket')}))`;

const memory: Row = {
  title: 'Memory on its way',
  panels: [
    graph('Left to copy', 'bytes', 'Falls to nothing when the guest changes less than the network carries.', {
      [VM_NAME]: chosen('kubevirt_vmi_migration_data_remaining_bytes'),
    }),
    graph('Copied', 'bytes', 'Of each running migration.', {
      [`${VM_NAME} copied`]: chosen('kubevirt_vmi_migration_data_processed_bytes'),
      [`${VM_NAME} altogether`]: chosen('kubevirt_vmi_migration_data_bytes_total'),
    }),
    graph('Copied and changed', 'Bps', 'A guest that changes more than is copied does not arrive.', {
      [`${VM_NAME} copied`]: chosen('kubevirt_vmi_migration_memory_transfer_rate_bytes'),
      [`${VM_NAME} changed`]: chosen('kubevirt_vmi_migration_dirty_memory_rate_bytes'),
    }),
    graph('Time until a phase', 's', 'From the creation of a migration, in all namespaces.', {
      '{{phase}} median': percentile(0.5),
      '{{phase}} 95 %': percentile(0.95),
    }),
  ],
};

/** Guests that move, and those that should and cannot. */
export const migrations = (): Dashboard => ({
  name: 'kubevirt-migrations',
  title: 'KubeVirt / Migrations',
  description: 'Live migrations: what waits, what runs, what came of it, and who cannot move.',
  variables: [NAMESPACE],
  rows: [overview, memory],
});
