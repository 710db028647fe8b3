import { type AlertRow, alertRule, type RecordingRule, type Rule } from '@slipway/runtime';

const orZero = (expr: string): string => `${expr} or vector(0)`;
const PARTS = [
  { part: 'api', title: 'API', plural: 'API', isLed: false },
  { part: 'controller', title: 'Controller', plural: 'Controllers', isLed: true },
  { part: 'handler', title: 'Handler', plural: 'Handler', isLed: false },
  { part: 'operator', title: 'Operator', plural: 'Operators', isLed: true },
] as const;
const PER_GUEST = 'sum by (name, namespace)';
const VMI_LABELS =
  'node, phase, os, workload, flavor, instance_type, preference, guest_os_kernel_release, guest_os_machine, guest_os_arch, guest_os_name, guest_os_version_id';

/** A part counts as up when it shows its readiness: all of them answer through the server. */
function partRecordings({ part, isLed }: (typeof PARTS)[number]): readonly RecordingRule[] {
  const name = `kubevirt_virt_${part}`;
  const count = orZero(`count(${name}_ready_status)`);
  const ready = orZero(`sum(${name}_ready_status)`);
  const leading = orZero(`sum(${name}_leading_status)`);
  return [
    { record: `cluster:${name}_up:sum`, expr: count },
    { record: `${name}_up`, expr: count },
    { record: `cluster:${name}_pods_running:count`, expr: count },
    { record: `cluster:${name}_ready:sum`, expr: ready },
    ...(isLed
      ? [
          { record: `${name}_ready`, expr: ready },
          { record: `cluster:${name}_leading:sum`, expr: leading },
        ]
      : []),
    ...(part === 'operator' ? [{ record: `${name}_leading`, expr: leading }] : []),
  ];
}

const swapTraffic = (range: string): string =>
  `${PER_GUEST} (rate(kubevirt_vmi_memory_swap_in_traffic_bytes[${range}])) + ${PER_GUEST} (rate(kubevirt_vmi_memory_swap_out_traffic_bytes[${range}]))`;
const allocatable = orZero('sum(kubevirt_node_schedulable)');
const withKvm = orZero('sum(kubevirt_node_has_kvm)');
const phases = `sum by (${VMI_LABELS}) (kubevirt_vmi_info)`;
/** Processes of the guest that wait for a vCPU. */
const guestQueue = `(${PER_GUEST} (kubevirt_vmi_guest_load_1m) - on (name, namespace) vmi:kubevirt_vmi_vcpu:count) > 0`;
const used = 'kubevirt_vmi_memory_available_bytes - kubevirt_vmi_memory_usable_bytes';

const RECORDINGS: readonly RecordingRule[] = [
  ...PARTS.flatMap(partRecordings),
  { record: 'cluster:kubevirt_nodes_allocatable:count', expr: allocatable },
  { record: 'kubevirt_allocatable_nodes', expr: allocatable },
  { record: 'cluster:kubevirt_nodes_with_kvm:count', expr: withKvm },
  { record: 'kubevirt_nodes_with_kvm', expr: withKvm },
  { record: 'cluster:kubevirt_non_schedulable_nodes:sum', expr: orZero('count(kubevirt_node_schedulable == 0)') },
  { record: 'namespace:kubevirt_vm:sum', expr: 'count by (namespace) (kubevirt_vm_info)' },
  { record: 'kubevirt_number_of_vms', expr: 'count by (namespace) (kubevirt_vm_info)' },
  { record: 'node:kubevirt_vmi_phase:sum', expr: phases },
  { record: 'kubevirt_vmi_phase_count', expr: phases },
  { record: 'vmi:kubevirt_vmi_memory_used_bytes:sum', expr: used },
  { record: 'kubevirt_vmi_memory_used_bytes', expr: used },
  { record: 'vmi:kubevirt_vmi_memory_available_bytes:sum', expr: `${PER_GUEST} (kubevirt_vmi_memory_available_bytes)` },
  {
    record: 'vmi:kubevirt_vmi_memory_headroom_ratio:sum',
    expr: `${PER_GUEST} (kubevirt_vmi_memory_usable_bytes) / ${PER_GUEST} (kubevirt_vmi_memory_available_bytes)`,
  },
  ...['5m', '30m'].flatMap((range): RecordingRule[] => [
    {
      record: `vmi:kubevirt_vmi_pgmajfaults:rate${range}`,
      expr: `${PER_GUEST} (rate(kubevirt_vmi_memory_pgmajfault_total[${range}]))`,
    },
    { record: `vmi:kubevirt_vmi_swap_traffic_bytes:rate${range}`, expr: swapTraffic(range) },
  ]),
  {
    record: 'vmi:kubevirt_vmi_vcpu:count',
    expr: 'count by (name, namespace) (count by (name, namespace, id) (kubevirt_vmi_vcpu_seconds_total))',
  },
  { record: 'vmi:kubevirt_vmi_guest_queue_length:sum', expr: guestQueue },
  { record: 'kubevirt_vmi_guest_vcpu_queue', expr: guestQueue },
  { record: 'kubevirt_vmi_migration_data_total_bytes', expr: 'kubevirt_vmi_migration_data_bytes_total' },
  { record: 'kubevirt_vm_created_total', expr: 'sum by (namespace) (kubevirt_vm_created_by_pod_total)' },
  {
    record: 'cnv:vmi_status_running:count',
    expr: 'sum by (node, os, workload, flavor, instance_type, preference) (kubevirt_vmi_info{phase="running"})',
  },
  {
    record: 'cluster:vmi_request_cpu_cores:sum',
    expr: orZero('sum(kubevirt_vm_resource_requests{resource="cpu",unit="cores"})'),
  },
];

function partAlerts({ part, title, plural, isLed }: (typeof PARTS)[number]): readonly AlertRow[] {
  const [up, ready] = [`cluster:kubevirt_virt_${part}_up:sum`, `cluster:kubevirt_virt_${part}_ready:sum`];
  const low = part === 'handler' ? 'LowReadyVirtHandlerCount' : `LowReadyVirt${part === 'api' ? 'API' : plural}Count`;
  const lasts = part === 'controller' ? '10m' : '60m';
  const few = `LowVirt${part === 'controller' ? 'Controllers' : title}Count`;
  return [
    [`Virt${title}Down`, 'critical/critical', '10m', `${up} == 0`, `All virt-${part} servers are down.`],
    [
      `NoReadyVirt${title}`,
      'critical/critical',
      '10m',
      `${ready} == 0`,
      `No ready virt-${part} was detected for the last 10 min.`,
    ],
    [low, 'warning/warning', '10m', `${ready} < ${up} and ${ready} > 0`, `Some virt-${part}s are running but not ready.`],
    ...(isLed
      ? [
          [
            `NoLeadingVirt${title}`,
            'critical/critical',
            '10m',
            `cluster:kubevirt_virt_${part}_leading:sum == 0`,
            `No leading virt-${part} was detected for the last 10 min.`,
          ] as const,
        ]
      : []),
    ...(part === 'handler'
      ? []
      : [[few, 'warning/warning', lasts, `${up} < 0.75`, `More than one virt-${part} should be running.`] as const]),
  ];
}

/** 4xx and 5xx answers among all to one component. */
const errorBurst = (container: string): string =>
  `sum(rate(kubevirt_rest_client_requests_total{container="${container}",code=~"[45].."}[5m])) / sum(rate(kubevirt_rest_client_requests_total{container="${container}"}[5m])) >= 0.8`;

const ALERTS: readonly AlertRow[] = [
  ...PARTS.flatMap(partAlerts),
  ...['Api', 'Controller', 'Handler', 'Operator'].map(
    (part): AlertRow => [
      `Virt${part}RESTErrorsBurst`,
      'critical/critical',
      '5m',
      errorBurst(`virt-${part.toLowerCase()}`),
      `More than 80% of the REST calls of virt-${part.toLowerCase()} failed for the last 5 minutes.`,
    ],
  ),
  [
    'VirtHandlerDaemonSetRolloutFailing',
    'warning/warning',
    '15m',
    'cluster:kubevirt_virt_handler_ready:sum != cluster:kubevirt_virt_handler_up:sum',
    'Some virt-handlers failed to roll out.',
  ],
  [
    'OrphanedVirtualMachineInstances',
    'warning/warning',
    '10m',
    'sum by (node) (kubevirt_vmi_info{node!=""}) and on (node) (kubevirt_virt_handler_ready_status == 0)',
    'No ready virt-handler on a node with virtual machine instances.',
  ],
  [
    'VirtLauncherPodsStuckFailed',
    'critical/critical',
    '10m',
    'kubevirt_virt_launcher_failed_pods >= 200',
    'At least 200 virt-launcher pods have failed.',
  ],
  [
    'LowKVMNodesCount',
    'warning/warning',
    '5m',
    '(cluster:kubevirt_nodes_allocatable:count > 1) and (cluster:kubevirt_nodes_with_kvm:count < 2)',
    'At least two nodes with kvm are required for VM live migration.',
  ],
  [
    'KubeVirtNoAvailableNodesToRunVMs',
    'warning/critical',
    '5m',
    'cluster:kubevirt_nodes_allocatable:count == 0',
    'There are no available nodes in the cluster to run VMs.',
  ],
  [
    'OutdatedVirtualMachineInstanceWorkloads',
    'warning/none',
    '24h',
    'kubevirt_vmi_number_of_outdated != 0',
    'Some running VMIs are still active in outdated pods.',
  ],
  [
    'VMCannotBeEvicted',
    'warning/none',
    '1m',
    'kubevirt_vmi_non_evictable > 0',
    "The VM's eviction strategy is set to Live Migration but the VM is not migratable.",
  ],
  [
    'KubeVirtVMIExcessiveMigrations',
    'warning/none',
    '24h',
    'count by (name, namespace) (kubevirt_vmi_migration_end_time_seconds{status="succeeded"} > time() - 86400) >= 12',
    'An excessive amount of migrations have been detected on a VMI in the last 24 hours.',
  ],
  [
    'VirtualMachineStuckInUnhealthyState',
    'warning/none',
    '10m',
    'sum by (name, namespace, status) (kubevirt_vm_info{status=~"provisioning|starting|terminating|error.*"} unless on (name, namespace) kubevirt_vmi_info) > 0',
    'Virtual machine is stuck in an unhealthy state.',
  ],
  [
    'VirtualMachineStuckOnNode',
    'warning/none',
    '5m',
    'sum by (name, namespace, status, node) (kubevirt_vm_info{status=~"starting|stopping|terminating|error.*"} * on (name, namespace) group_left(node) kubevirt_vmi_info{node!=""}) > 0',
    'Virtual machine is stuck in an unhealthy state on its node.',
  ],
  [
    'GuestVCPUQueueHighWarning',
    'warning/none',
    '10m',
    'vmi:kubevirt_vmi_guest_queue_length:sum > 10',
    'The queue of processes that wait for a vCPU of the guest is long.',
  ],
  [
    'GuestVCPUQueueHighCritical',
    'critical/none',
    '',
    'vmi:kubevirt_vmi_guest_queue_length:sum > 20',
    'The queue of processes that wait for a vCPU of the guest is very long.',
  ],
  [
    'VMNonRecoverableOSPanic',
    'critical/none',
    '1m',
    'sum by (name, namespace) (increase(kubevirt_vmi_guest_os_panic_total[24h])) > 5',
    'The kernel of the guest has panicked more than five times within a day.',
  ],
  [
    'KubeVirtVMGuestMemoryPressure',
    'warning/none',
    '5m',
    'vmi:kubevirt_vmi_memory_headroom_ratio:sum < 0.05 and on (name, namespace) (vmi:kubevirt_vmi_pgmajfaults:rate5m > 5 or vmi:kubevirt_vmi_swap_traffic_bytes:rate5m > 1048576)',
    'The guest is under memory pressure.',
  ],
  [
    'KubeVirtVMGuestMemoryAvailableLow',
    'info/none',
    '30m',
    'vmi:kubevirt_vmi_memory_headroom_ratio:sum < 0.03 and on (name, namespace) (vmi:kubevirt_vmi_swap_traffic_bytes:rate30m == 0)',
    'The guest has little available memory left.',
  ],
  [
    'GuestFilesystemAlmostOutOfSpace',
    'warning/none',
    '10m',
    'kubevirt_vmi_filesystem_used_bytes / kubevirt_vmi_filesystem_capacity_bytes >= 0.95',
    'A guest filesystem is at least 95% full.',
  ],
  [
    'GuestFilesystemAlmostOutOfSpace',
    'info/none',
    '30m',
    '(kubevirt_vmi_filesystem_used_bytes / kubevirt_vmi_filesystem_capacity_bytes >= 0.85) < 0.95',
    'A guest filesystem is 85% to 95% full.',
  ],
];

export const KUBEVIRT_RULES: readonly Rule[] = [...RECORDINGS, ...ALERTS.map((row) => alertRule('kubevirt', row))];
