import { chosen, type Dashboard, type Graph, graph, NAMESPACE, type Table, type Unit } from './dashboard.ts';

const COUNT = 10;
const PER_VM = 'sum by (namespace, name)';

interface Consumption {
  readonly title: string;
  readonly unit: Unit;
  readonly description: string;
  /** Of each VM, over a time such as `5m`. */
  readonly over: (range: string) => string;
}

const rates =
  (...metrics: readonly string[]) =>
  (range: string): string =>
    metrics.map((metric) => `${PER_VM} (rate(${chosen(metric)}[${range}]))`).join(' + ');
const average =
  (metric: string) =>
  (range: string): string =>
    `${PER_VM} (avg_over_time(${chosen(metric)}[${range}]))`;

const CONSUMPTIONS: readonly Consumption[] = [
  {
    title: 'Processor',
    unit: 'short',
    description: 'Cores of the host that the guest and its devices keep busy.',
    over: rates('kubevirt_vmi_cpu_usage_seconds_total'),
  },
  {
    title: 'Memory of the host',
    unit: 'bytes',
    description: 'What the guest occupies on its node.',
    over: average('kubevirt_vmi_memory_resident_bytes'),
  },
  {
    title: 'Memory in the guest',
    unit: 'bytes',
    description: 'What the guest itself counts as used; needs its balloon driver.',
    over: (range) =>
      `${average('kubevirt_vmi_memory_available_bytes')(range)} - ${average('kubevirt_vmi_memory_usable_bytes')(range)}`,
  },
  {
    title: 'Waiting for a processor',
    unit: 'percentunit',
    description: 'Time that vCPUs were ready to run while the host had no processor for them; all vCPUs together.',
    over: rates('kubevirt_vmi_vcpu_delay_seconds_total'),
  },
  {
    title: 'Storage traffic',
    unit: 'Bps',
    description: 'Read and written, all disks together.',
    over: rates('kubevirt_vmi_storage_read_traffic_bytes_total', 'kubevirt_vmi_storage_write_traffic_bytes_total'),
  },
  {
    title: 'Storage operations',
    unit: 'ops',
    description: 'Reads and writes, all disks together.',
    over: rates('kubevirt_vmi_storage_iops_read_total', 'kubevirt_vmi_storage_iops_write_total'),
  },
  {
    title: 'Network traffic',
    unit: 'Bps',
    description: 'Received and sent, all interfaces together.',
    over: rates('kubevirt_vmi_network_receive_bytes_total', 'kubevirt_vmi_network_transmit_bytes_total'),
  },
  {
    title: 'Swapping',
    unit: 'Bps',
    description: 'What the guest moves between its memory and its swap space.',
    over: rates('kubevirt_vmi_memory_swap_in_traffic_bytes', 'kubevirt_vmi_memory_swap_out_traffic_bytes'),
  },
];

const tableOf = ({ title, unit, description, over }: Consumption): Table => ({
  type: 'table',
  title,
  unit,
  description,
  expr: `sort_desc(topk(${COUNT}, ${over('$__range')}) > 0)`,
  columns: { namespace: 'Namespace', name: 'Virtual machine' },
  valueTitle: title,
});

const graphOf = ({ title, unit, description, over }: Consumption): Graph =>
  graph(`${title} over time`, unit, description, {
    '{{namespace}}/{{name}}': `topk(${COUNT}, ${over('$__rate_interval')}) > 0`,
  });

/** Which VMs take most of what the machine has. */
export const topConsumers = (): Dashboard => ({
  name: 'kubevirt-top-consumers',
  title: 'KubeVirt / Top consumers',
  description: `The ${COUNT} virtual machines that take most: processor, memory, storage, network.`,
  variables: [NAMESPACE],
  rows: [
    { title: 'In the selected time', panels: CONSUMPTIONS.map(tableOf) },
    { title: 'Over time', panels: CONSUMPTIONS.map(graphOf) },
  ],
});
