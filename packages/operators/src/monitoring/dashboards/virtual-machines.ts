import { chosen, type Dashboard, graph, NAMESPACE, rate, type Row, stat, type Table, type Variable } from './dashboard.ts';

const VM: Variable = {
  name: 'name',
  label: 'Virtual machine',
  values: 'label_values(kubevirt_vm_info{namespace=~"$namespace"}, name)',
};
const NAMED = 'name=~"$name"';
const VM_NAME = '{{namespace}}/{{name}}';
const PER_VM = 'sum by (namespace, name)';

const of = (metric: string, ...more: readonly string[]): string => chosen(metric, NAMED, ...more);
const perVm = (metric: string): string => `${PER_VM} (${rate(of(metric))})`;
const count = (selector: string): string => `sum(${selector}) or vector(0)`;
/** A rate of each VM and of one more label. */
const per = (label: string, metric: string): string => `sum by (namespace, name, ${label}) (${rate(of(metric))})`;

const list: Table = {
  type: 'table',
  title: 'All of them',
  unit: 'short',
  description: 'One line for each virtual machine.',
  expr: `sum by (namespace, name, status, os, instance_type, preference, machine_type) (${of('kubevirt_vm_info')})`,
  columns: {
    namespace: 'Namespace',
    name: 'Virtual machine',
    status: 'Status',
    os: 'System',
    instance_type: 'Instance type',
    preference: 'Preference',
    machine_type: 'Machine type',
  },
};

const placement: Table = {
  type: 'table',
  title: 'Where they run',
  unit: 'short',
  description: 'Running instances with their node and what their agent says of the system.',
  expr: `sum by (namespace, name, node, phase, guest_os_name, guest_os_version_id, evictable, outdated) (${of('kubevirt_vmi_info')})`,
  columns: {
    namespace: 'Namespace',
    name: 'Virtual machine',
    node: 'Node',
    phase: 'Phase',
    guest_os_name: 'Guest system',
    guest_os_version_id: 'Version',
    evictable: 'Can move',
    outdated: 'Outdated',
  },
};

const machines: Row = {
  title: 'Virtual machines',
  panels: [
    stat('Virtual machines', 'short', 'All that exist.', count(of('kubevirt_vm_info'))),
    stat('Running', 'short', 'Those that run.', count(of('kubevirt_vm_info', 'status_group="running"'))),
    stat('In trouble', 'short', 'Those whose status is an error.', count(of('kubevirt_vm_info', 'status_group="error"'))),
    stat(
      'Cannot move',
      'short',
      'Instances that want to move away from a node in maintenance and cannot.',
      count(of('kubevirt_vmi_non_evictable')),
    ),
    stat(
      'Outdated',
      'short',
      'Instances with a launcher older than the platform, in all namespaces.',
      'sum(kubevirt_vmi_number_of_outdated)',
    ),
    stat('Disks', 'bytes', 'Size of all claims that virtual machines use.', count(of('kubevirt_vm_disk_allocated_size_bytes'))),
    list,
    placement,
    graph('By status', 'short', 'Virtual machines of each status.', {
      '{{status}}': `sum by (status) (${of('kubevirt_vm_info')})`,
    }),
    graph('By node', 'short', 'Instances on each node.', { '{{node}}': `sum by (node) (${of('kubevirt_vmi_info')})` }),
  ],
};

const used = `${PER_VM} (${of('kubevirt_vmi_memory_available_bytes')}) - ${PER_VM} (${of('kubevirt_vmi_memory_usable_bytes')})`;

const compute: Row = {
  title: 'Processor and memory',
  panels: [
    graph('Processor', 'short', 'Cores of the host in use.', { [VM_NAME]: perVm('kubevirt_vmi_cpu_usage_seconds_total') }),
    graph('Waiting', 'percentunit', 'vCPUs that wait for a processor of the host, or for storage.', {
      [`${VM_NAME} processor`]: perVm('kubevirt_vmi_vcpu_delay_seconds_total'),
      [`${VM_NAME} storage`]: perVm('kubevirt_vmi_vcpu_wait_seconds_total'),
    }),
    graph('Memory', 'bytes', 'Used in the guest as its balloon driver tells, and occupied on the node.', {
      [`${VM_NAME} in the guest`]: used,
      [`${VM_NAME} on the node`]: `${PER_VM} (${of('kubevirt_vmi_memory_resident_bytes')})`,
    }),
    graph('Memory left', 'percentunit', 'Share of its memory that the guest can still give to programs.', {
      [VM_NAME]: `${PER_VM} (${of('kubevirt_vmi_memory_usable_bytes')}) / ${PER_VM} (${of('kubevirt_vmi_memory_available_bytes')})`,
    }),
    graph('Swapping', 'Bps', 'Between the memory of the guest and its swap space.', {
      [`${VM_NAME} in`]: perVm('kubevirt_vmi_memory_swap_in_traffic_bytes'),
      [`${VM_NAME} out`]: perVm('kubevirt_vmi_memory_swap_out_traffic_bytes'),
    }),
    graph('Page faults', 'ops', 'Faults of the guest that needed its disk.', {
      [VM_NAME]: perVm('kubevirt_vmi_memory_pgmajfault_total'),
    }),
    graph('Load', 'short', 'Load of the last minute as the agent of the guest tells.', {
      [VM_NAME]: of('kubevirt_vmi_guest_load_1m'),
    }),
    graph('Overhead', 'bytes', 'What the launcher needs beside the memory of its guest.', {
      [VM_NAME]: of('kubevirt_vmi_launcher_memory_overhead_bytes'),
    }),
  ],
};

/** Seconds of one operation. */
const latency = (kind: 'read' | 'write'): string =>
  `${per('drive', `kubevirt_vmi_storage_${kind}_times_seconds_total`)} / ${per('drive', `kubevirt_vmi_storage_iops_${kind}_total`)}`;
const FILESYSTEM = 'namespace, name, mount_point';

const devices: Row = {
  title: 'Storage and network',
  panels: [
    graph('Storage traffic', 'Bps', 'By disk.', {
      [`${VM_NAME} {{drive}} read`]: per('drive', 'kubevirt_vmi_storage_read_traffic_bytes_total'),
      [`${VM_NAME} {{drive}} written`]: per('drive', 'kubevirt_vmi_storage_write_traffic_bytes_total'),
    }),
    graph('Storage latency', 's', 'Time of one operation, by disk.', {
      [`${VM_NAME} {{drive}} read`]: latency('read'),
      [`${VM_NAME} {{drive}} write`]: latency('write'),
    }),
    graph('Storage operations', 'ops', 'By disk.', {
      [`${VM_NAME} {{drive}} reads`]: per('drive', 'kubevirt_vmi_storage_iops_read_total'),
      [`${VM_NAME} {{drive}} writes`]: per('drive', 'kubevirt_vmi_storage_iops_write_total'),
      [`${VM_NAME} {{drive}} flushes`]: per('drive', 'kubevirt_vmi_storage_flush_requests_total'),
    }),
    graph('File systems', 'percentunit', 'How full they are, as the agent of the guest tells.', {
      [`${VM_NAME} {{mount_point}}`]: `max by (${FILESYSTEM}) (${of('kubevirt_vmi_filesystem_used_bytes')}) / max by (${FILESYSTEM}) (${of('kubevirt_vmi_filesystem_capacity_bytes')})`,
    }),
    graph('Network traffic', 'Bps', 'By interface.', {
      [`${VM_NAME} {{interface}} received`]: per('interface', 'kubevirt_vmi_network_receive_bytes_total'),
      [`${VM_NAME} {{interface}} sent`]: per('interface', 'kubevirt_vmi_network_transmit_bytes_total'),
    }),
    graph('Lost packets', 'ops', 'Dropped or faulty, by interface.', {
      [`${VM_NAME} {{interface}} dropped`]: `${per('interface', 'kubevirt_vmi_network_receive_packets_dropped_total')} + ${per('interface', 'kubevirt_vmi_network_transmit_packets_dropped_total')}`,
      [`${VM_NAME} {{interface}} faulty`]: `${per('interface', 'kubevirt_vmi_network_receive_errors_total')} + ${per('interface', 'kubevirt_vmi_network_transmit_errors_total')}`,
    }),
  ],
};

const toRunning = (share: number): string =>
  `histogram_quantile(${share}, sum by (le) (${rate('kubevirt_vmi_phase_transition_time_from_creation_seconds_bucket{phase="Running"}')}))`;
const perInstance = (metric: string): string => `sum by (namespace, vmi) (${chosen(metric, 'vmi=~"$name"')}) > 0`;
const INSTANCE = '{{namespace}}/{{vmi}}';

const life: Row = {
  title: 'Starts, connections, snapshots',
  panels: [
    graph('Time to Running', 's', 'From the creation of an instance until it runs, in all namespaces.', {
      median: toRunning(0.5),
      '95 %': toRunning(0.95),
    }),
    graph('Panics', 'short', 'Panics of guests that their panic device has told of.', {
      [VM_NAME]: `sum by (namespace, name) (increase(${of('kubevirt_vmi_guest_os_panic_total')}[$__range]))`,
    }),
    graph('Connections', 'short', 'Open consoles, displays and tunnels.', {
      [`${INSTANCE} console`]: perInstance('kubevirt_console_active_connections'),
      [`${INSTANCE} VNC`]: perInstance('kubevirt_vnc_active_connections'),
      [`${INSTANCE} USB`]: perInstance('kubevirt_usbredir_active_connections'),
      [`${INSTANCE} tunnel`]: perInstance('kubevirt_portforward_active_tunnels'),
    }),
    graph('Age of the last snapshot', 's', 'Of virtual machines that have one.', {
      [VM_NAME]: `time() - max by (namespace, name) (${of('kubevirt_vmsnapshot_succeeded_timestamp_seconds')})`,
    }),
  ],
};

/** What virtual machines are there, how they are, and what they do. */
export const virtualMachines = (): Dashboard => ({
  name: 'kubevirt-virtual-machines',
  title: 'KubeVirt / Virtual machines',
  description: 'Virtual machines with their status, place, load, storage and network.',
  variables: [NAMESPACE, VM],
  rows: [machines, compute, devices, life],
});
