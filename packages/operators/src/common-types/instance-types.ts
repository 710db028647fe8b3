import type { Fields } from '../kinds.ts';

export const BUNDLE_VERSION = 'v1.7.0';
const GROUP = 'instancetype.kubevirt.io';

/** Size, processors and memory. */
type Size = readonly [name: string, cpu: number, memory: string];

const GENERAL: readonly Size[] = [
  ['nano', 1, '512Mi'],
  ['micro', 1, '1Gi'],
  ['small', 1, '2Gi'],
  ['medium', 1, '4Gi'],
  ['2xmedium', 2, '4Gi'],
  ['large', 2, '8Gi'],
  ['xlarge', 4, '16Gi'],
  ['2xlarge', 8, '32Gi'],
  ['4xlarge', 16, '64Gi'],
  ['8xlarge', 32, '128Gi'],
];
const without = (...names: readonly string[]): readonly Size[] => GENERAL.filter(([name]) => !names.includes(name));
const sizes = (table: string): readonly Size[] =>
  table.split(' ').map((row) => {
    const [name = '', cpu = '', memory = ''] = row.split('/');
    return [name, Number(cpu), `${memory}Gi`];
  });

interface Series {
  readonly name: string;
  readonly className: string;
  readonly title: string;
  readonly text: string;
  readonly icon: string;
  readonly sizes: readonly Size[];
  /** Also with pages of 1Gi, as `<size>1gi`. */
  readonly hasGigaPages?: boolean;
  readonly spec: (
    cpu: number,
    pageSize: string,
  ) => { readonly cpu?: Fields; readonly memory?: Fields; readonly [field: string]: unknown };
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

const DEDICATED = { dedicatedCPUPlacement: true, isolateEmulatorThread: true };
const DEDICATED_LABELS = { dedicatedCPUPlacement: 'true', isolateEmulatorThread: 'true' };
const CRIO = Object.fromEntries(
  ['cpu-load-balancing', 'cpu-quota', 'irq-load-balancing'].map((name) => [`${name}.crio.io`, 'disable']),
);

const SERIES: readonly Series[] = [
  {
    name: 'u1',
    className: 'general.purpose',
    title: 'General Purpose',
    text: 'The U Series is quite neutral and provides resources for general purpose applications.',
    icon: 'pficon-server-group',
    sizes: GENERAL,
    spec: () => ({}),
  },
  {
    name: 'o1',
    className: 'overcommitted',
    title: 'Overcommitted',
    text: 'The O Series is based on the U Series, with the only difference being that memory is overcommitted.',
    icon: 'pficon-virtual-machine',
    sizes: without('2xmedium'),
    spec: () => ({ memory: { overcommitPercent: 50 } }),
  },
  {
    name: 'd1',
    className: 'dedicated.vcpu',
    title: 'Dedicated vCPU',
    text: 'The D Series gives each virtual processor a processor of its own.',
    icon: 'pficon-server-group',
    sizes: GENERAL,
    spec: () => ({ cpu: DEDICATED, ioThreadsPolicy: 'auto' }),
    labels: DEDICATED_LABELS,
  },
  {
    ...{ name: 'cx1', className: 'compute.exclusive', title: 'Compute Exclusive', icon: 'pficon-registry', hasGigaPages: true },
    text: 'The CX Series provides exclusive compute resources for compute intensive applications.',
    sizes: sizes('medium/1/2 large/2/4 xlarge/4/8 2xlarge/8/16 4xlarge/16/32 8xlarge/32/64'),
    spec: (cpu, pageSize) => ({
      cpu: { ...DEDICATED, maxSockets: cpu, numa: { guestMappingPassthrough: {} } },
      memory: { hugepages: { pageSize } },
      ioThreadsPolicy: 'auto',
    }),
    labels: { ...DEDICATED_LABELS, numa: 'true', hugepages: '' },
  },
  {
    ...{ name: 'm1', className: 'memory.intensive', title: 'Memory Intensive', icon: 'fa-memory', hasGigaPages: true },
    text: 'The M Series provides resources for memory intensive applications.',
    sizes: sizes('large/2/16 xlarge/4/32 2xlarge/8/64 4xlarge/16/128 8xlarge/32/256'),
    spec: (_, pageSize) => ({ memory: { hugepages: { pageSize } } }),
    labels: { hugepages: '' },
  },
  {
    ...{ name: 'n1', className: 'network', title: 'Network', icon: 'pficon-network', annotations: CRIO },
    text: 'The N Series provides resources for network intensive applications, like VNFs.',
    sizes: sizes('medium/4/4 large/4/8 xlarge/8/16 2xlarge/16/32 4xlarge/32/64 8xlarge/64/128'),
    spec: () => ({ cpu: DEDICATED, memory: { hugepages: { pageSize: '1Gi' } }, ioThreadsPolicy: 'auto' }),
    labels: { ...DEDICATED_LABELS, hugepages: '1Gi' },
  },
  {
    ...{ name: 'rt1', className: 'realtime', title: 'Realtime', icon: 'pficon-server-group', annotations: CRIO },
    text: 'The RT Series provides resources for realtime applications.',
    sizes: without('nano', '2xmedium'),
    spec: () => ({
      cpu: { ...DEDICATED, numa: { guestMappingPassthrough: {} }, realtime: {} },
      memory: { hugepages: { pageSize: '1Gi' } },
      ioThreadsPolicy: 'auto',
    }),
    labels: { ...DEDICATED_LABELS, numa: 'true', hugepages: '1Gi', realtime: 'true' },
  },
];

/** All common instance types. */
export const instanceTypes = (): readonly CommonType[] =>
  SERIES.flatMap((series) => [
    ...series.sizes.map((size) => typeOf(series, size, '2Mi', '')),
    ...(series.hasGigaPages ? series.sizes.map((size) => typeOf(series, size, '1Gi', '1gi')) : []),
  ]);

export interface CommonType {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly labels: Record<string, string>;
    readonly annotations: Record<string, string>;
  };
  readonly spec: Fields;
}

/** Labels of everything in the bundle. */
export const bundleLabels = (icon?: string): Record<string, string> => ({
  [`${GROUP}/common-instancetypes-version`]: BUNDLE_VERSION,
  [`${GROUP}/vendor`]: 'kubevirt.io',
  ...(icon !== undefined && { [`${GROUP}/icon-pf`]: icon }),
  'app.kubernetes.io/managed-by': 'virt-operator',
});

function typeOf(series: Series, [size, cpu, memory]: Size, pageSize: string, suffix: string): CommonType {
  const { cpu: cpuFields, memory: memoryFields, ...rest } = series.spec(cpu, pageSize);
  const facts: Record<string, string> = {
    ...{ version: '1', class: series.className, size: `${size}${suffix}`, cpu: String(cpu), memory },
    ...series.labels,
    ...(series.labels?.['hugepages'] === '' && { hugepages: pageSize }),
  };
  return {
    apiVersion: `${GROUP}/v1beta1`,
    kind: 'VirtualMachineClusterInstancetype',
    metadata: {
      name: `${series.name}.${size}${suffix}`,
      labels: {
        ...bundleLabels(series.icon),
        ...Object.fromEntries(Object.entries(facts).map(([name, value]) => [`${GROUP}/${name}`, value])),
      },
      annotations: { [`${GROUP}/displayName`]: series.title, [`${GROUP}/description`]: series.text },
    },
    spec: {
      ...rest,
      cpu: { guest: cpu, ...cpuFields },
      memory: { guest: memory, ...memoryFields },
      ...(series.annotations && { annotations: series.annotations }),
    },
  };
}
