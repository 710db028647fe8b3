import type { GuestStats, VirtualMachineInstance } from '@slipway/api';
import type { MetricFamily } from '@slipway/runtime';
import { Families, type Labels } from './families.ts';
import { guestIdentity } from './vmi-metrics.ts';

const KIB = 1024;
const NANO = 1e-9;
const PAGE_BYTES = 4096;

type Row = readonly [statistic: string, metric: string, factor: number, help: string];

/** libvirt's statistics of the whole guest → metrics. */
const CPU: readonly Row[] = [
  [
    'cpu.time',
    'kubevirt_vmi_cpu_usage_seconds_total',
    NANO,
    'Total CPU time spent in all modes (sum of both vcpu and hypervisor usage).',
  ],
  ['cpu.user', 'kubevirt_vmi_cpu_user_usage_seconds_total', NANO, 'Total CPU time spent in user mode.'],
  ['cpu.system', 'kubevirt_vmi_cpu_system_usage_seconds_total', NANO, 'Total CPU time spent in system mode.'],
];
const MEMORY: readonly Row[] = [
  ['balloon.rss', 'kubevirt_vmi_memory_resident_bytes', KIB, 'Resident set size of the process running the domain.'],
  [
    'balloon.available',
    'kubevirt_vmi_memory_available_bytes',
    KIB,
    'Amount of usable memory as seen by the domain. This value may not be accurate if a balloon driver is in use or if the guest OS does not initialize all assigned pages.',
  ],
  [
    'balloon.unused',
    'kubevirt_vmi_memory_unused_bytes',
    KIB,
    'The amount of memory left completely unused by the system. Memory that is available but used for reclaimable caches should NOT be reported as free.',
  ],
  [
    'balloon.usable',
    'kubevirt_vmi_memory_usable_bytes',
    KIB,
    "The amount of memory which can be reclaimed by balloon without pushing the guest system to swap, corresponds to 'Available' in /proc/meminfo.",
  ],
  [
    'balloon.disk_caches',
    'kubevirt_vmi_memory_cached_bytes',
    KIB,
    'The amount of memory that is being used to cache I/O and is available to be reclaimed.',
  ],
  ['balloon.current', 'kubevirt_vmi_memory_actual_balloon_bytes', KIB, 'Current balloon size in bytes.'],
  ['balloon.maximum', 'kubevirt_vmi_memory_domain_bytes', KIB, 'The amount of memory in bytes allocated to the domain.'],
  [
    'balloon.swap_in',
    'kubevirt_vmi_memory_swap_in_traffic_bytes',
    KIB,
    'The total amount of data read from swap space of the guest in bytes.',
  ],
  [
    'balloon.swap_out',
    'kubevirt_vmi_memory_swap_out_traffic_bytes',
    KIB,
    'The total amount of memory written out to swap space of the guest in bytes.',
  ],
  [
    'dirtyrate.megabytes_per_second',
    'kubevirt_vmi_dirty_rate_bytes_per_second',
    KIB * KIB,
    'Guest dirty-rate in bytes per second.',
  ],
];
const FAULTS: readonly Row[] = [
  ['balloon.major_fault', 'kubevirt_vmi_memory_pgmajfault_total', 1, 'The number of page faults when disk IO was required.'],
  [
    'balloon.minor_fault',
    'kubevirt_vmi_memory_pgminfault_total',
    1,
    'The number of other page faults, when disk IO was not required.',
  ],
];
/** Of one interface, with what follows `net.N.`. */
const NETWORK: readonly Row[] = (['receive', 'transmit'] as const).flatMap((way): Row[] => {
  const short = way === 'receive' ? 'rx' : 'tx';
  const text = way === 'receive' ? 'received' : 'transmitted';
  return [
    [`${short}.bytes`, `kubevirt_vmi_network_${way}_bytes_total`, 1, `Total network traffic ${text} in bytes.`],
    [`${short}.pkts`, `kubevirt_vmi_network_${way}_packets_total`, 1, `Total network traffic ${text} packets.`],
    [`${short}.errs`, `kubevirt_vmi_network_${way}_errors_total`, 1, `Total network ${text} error packets.`],
    [
      `${short}.drop`,
      `kubevirt_vmi_network_${way}_packets_dropped_total`,
      1,
      `The total number of ${short} packets dropped on vNIC interfaces.`,
    ],
  ];
});
/** Of one disk, with what follows `block.N.`. */
const STORAGE: readonly Row[] = [
  ['rd.reqs', 'kubevirt_vmi_storage_iops_read_total', 1, 'Total number of I/O read operations.'],
  ['wr.reqs', 'kubevirt_vmi_storage_iops_write_total', 1, 'Total number of I/O write operations.'],
  ['rd.bytes', 'kubevirt_vmi_storage_read_traffic_bytes_total', 1, 'Total number of bytes read from storage.'],
  ['wr.bytes', 'kubevirt_vmi_storage_write_traffic_bytes_total', 1, 'Total number of written bytes.'],
  ['rd.times', 'kubevirt_vmi_storage_read_times_seconds_total', NANO, 'Total time spent on read operations.'],
  ['wr.times', 'kubevirt_vmi_storage_write_times_seconds_total', NANO, 'Total time spent on write operations.'],
  ['fl.reqs', 'kubevirt_vmi_storage_flush_requests_total', 1, 'Total storage flush requests.'],
  ['fl.times', 'kubevirt_vmi_storage_flush_times_seconds_total', NANO, 'Total time spent on cache flushing.'],
];
/** Of the job that moves the guest; `{name}` of libvirt's job statistics. */
const MIGRATION: readonly Row[] = [
  [
    'data_processed',
    'kubevirt_vmi_migration_data_processed_bytes',
    1,
    'The total Guest OS data processed and migrated to the new VM.',
  ],
  [
    'data_remaining',
    'kubevirt_vmi_migration_data_remaining_bytes',
    1,
    'The remaining guest OS data to be migrated to the new VM.',
  ],
  ['memory_bps', 'kubevirt_vmi_migration_memory_transfer_rate_bytes', 1, 'The rate at which the memory is being transferred.'],
];
const MIGRATION_TOTAL: Row = [
  'data_total',
  'kubevirt_vmi_migration_data_bytes_total',
  1,
  'The total Guest OS data to be migrated to the new VM.',
];
const DIRTY_RATE = 'kubevirt_vmi_migration_dirty_memory_rate_bytes';
const LOAD = ['1m', '5m', '15m'] as const;
const VCPU_STATES = ['offline', 'running', 'blocked'];
const TRAFFIC = 'kubevirt_vmi_network_traffic_bytes_total';

const helps = (rows: readonly Row[]): Record<string, string> =>
  Object.fromEntries(rows.map(([, metric, , help]) => [metric, help]));

const declared = (): Families =>
  new Families()
    .declare('counter', {
      ...helps([...CPU, ...FAULTS, ...NETWORK, ...STORAGE, MIGRATION_TOTAL]),
      [TRAFFIC]: '[Deprecated] Total number of bytes sent and received.',
    })
    .declare('gauge', {
      ...helps([...MEMORY, ...MIGRATION]),
      [DIRTY_RATE]: 'The rate of memory being dirty in the Guest OS.',
      ...Object.fromEntries(
        LOAD.map((time) => [
          `kubevirt_vmi_guest_load_${time}`,
          `Guest system load average over ${time}, as reported by the guest agent.`,
        ]),
      ),
      kubevirt_vmi_filesystem_capacity_bytes: 'Total VM filesystem capacity in bytes.',
      kubevirt_vmi_filesystem_used_bytes: 'Used VM filesystem capacity in bytes.',
    })
    .declare('counter', {
      kubevirt_vmi_vcpu_seconds_total:
        'Total amount of time spent in each state by each vcpu (cpu_time excluding hypervisor time). Where `id` is the vcpu identifier and `state` can be one of the following: [`OFFLINE`, `RUNNING`, `BLOCKED`].',
      kubevirt_vmi_vcpu_wait_seconds_total: 'Amount of time spent by each vcpu while waiting on I/O, including hypervisor time.',
      kubevirt_vmi_vcpu_delay_seconds_total: 'Amount of time spent by each vcpu waiting in the queue instead of running.',
    });

/** Names of all figures that nodes are asked for. */
export const domainMetricNames = (): readonly string[] =>
  declared()
    .list()
    .map(({ name }) => name);

/** Metrics of running guests. */
export function domainMetrics(
  guests: readonly { readonly vmi: VirtualMachineInstance; readonly stats: GuestStats }[],
): MetricFamily[] {
  const families = declared();
  for (const { vmi, stats } of guests) addGuest(families, vmi, stats);
  return families.list();
}

/** Adds what is read of one guest. */
class GuestReader {
  private readonly families: Families;
  private readonly stats: GuestStats['domain'];
  private readonly id: Labels;

  constructor(families: Families, stats: GuestStats['domain'], id: Labels) {
    this.families = families;
    this.stats = stats;
    this.id = id;
  }

  number(name: string): number | undefined {
    const value = this.stats[name];
    return typeof value === 'number' ? value : undefined;
  }

  text(name: string): string {
    return String(this.stats[name] ?? '');
  }

  add(metric: string, labels: Labels, statistic: string, factor = 1): void {
    const value = this.number(statistic);
    this.families.add(metric, { ...this.id, ...labels }, value === undefined ? undefined : value * factor);
  }

  rows(rows: readonly Row[], prefix = '', labels: Labels = {}): void {
    for (const [statistic, metric, factor] of rows) this.add(metric, labels, prefix + statistic, factor);
  }
}

function addGuest(families: Families, vmi: VirtualMachineInstance, { domain, filesystems, job, load }: GuestStats): void {
  const id = { ...guestIdentity(vmi), ...vmiLabels(vmi) };
  const guest = new GuestReader(families, domain, id);
  guest.rows([...CPU, ...MEMORY, ...FAULTS]);
  addProcessors(guest);
  addInterfaces(guest, vmi);
  for (let disk = 0; disk < (guest.number('block.count') ?? 0); disk++) {
    const target = guest.text(`block.${disk}.name`);
    const volume = (vmi.status?.volumeStatus ?? []).find((each) => each.target === target);
    guest.rows(STORAGE, `block.${disk}.`, { drive: volume?.name ?? target });
  }
  if (job !== undefined) addMigration(new GuestReader(families, job, id));
  for (const [index, time] of LOAD.entries()) families.add(`kubevirt_vmi_guest_load_${time}`, id, load?.[index]);
  for (const { diskName, mountPoint, fileSystemType, totalBytes, usedBytes } of filesystems) {
    const labels = { ...id, disk_name: diskName, mount_point: mountPoint, file_system_type: fileSystemType };
    families.add('kubevirt_vmi_filesystem_capacity_bytes', labels, totalBytes);
    families.add('kubevirt_vmi_filesystem_used_bytes', labels, usedBytes);
  }
}

function addMigration(job: GuestReader): void {
  job.rows([MIGRATION_TOTAL, ...MIGRATION]);
  // libvirt counts pages
  job.add(DIRTY_RATE, {}, 'memory_dirty_rate', job.number('memory_page_size') ?? PAGE_BYTES);
}

function addProcessors(guest: GuestReader): void {
  for (let vcpu = 0; guest.number(`vcpu.${vcpu}.state`) !== undefined; vcpu++) {
    const labels = { id: String(vcpu) };
    const state = VCPU_STATES[guest.number(`vcpu.${vcpu}.state`) ?? -1];
    guest.add('kubevirt_vmi_vcpu_seconds_total', { ...labels, state }, `vcpu.${vcpu}.time`, NANO);
    guest.add('kubevirt_vmi_vcpu_wait_seconds_total', labels, `vcpu.${vcpu}.wait`, NANO);
    guest.add('kubevirt_vmi_vcpu_delay_seconds_total', labels, `vcpu.${vcpu}.delay`, NANO);
  }
}

/** In the order of the spec, which is that of the domain. */
function addInterfaces(guest: GuestReader, vmi: VirtualMachineInstance): void {
  const nics = vmi.spec.domain.devices.interfaces ?? [];
  for (let nic = 0; nic < (guest.number('net.count') ?? 0); nic++) {
    const labels = { interface: nics[nic]?.name ?? guest.text(`net.${nic}.name`) };
    guest.rows(NETWORK, `net.${nic}.`, labels);
    for (const type of ['rx', 'tx']) guest.add(TRAFFIC, { ...labels, type }, `net.${nic}.${type}.bytes`);
  }
}

/** Labels of the instance as labels of its metrics. */
const vmiLabels = ({ metadata }: VirtualMachineInstance): Record<string, string> =>
  Object.fromEntries(
    Object.entries(metadata.labels ?? {}).map(([name, value]) => [`kubernetes_vmi_label_${name.replace(/[./-]/g, '_')}`, value]),
  );
