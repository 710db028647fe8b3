export type Workload = 'server' | 'desktop' | 'highperformance';
export type Flavor = 'tiny' | 'small' | 'medium' | 'large';

/** One operating system, as its templates are made from. */
export interface System {
  /** First part of the names of its templates. */
  readonly name: string;
  readonly title: string;
  /** Text before the random letters in names of VMs. */
  readonly prefix: string;
  readonly dataSource: string;
  /** Ids of the versions it covers, newest last. */
  readonly ids: readonly string[];
  readonly icon: string;
  readonly workloads: readonly Workload[];
  readonly flavors: readonly Flavor[];
  readonly disk: string;
  /** Undefined for Windows. */
  readonly user?: string;
  readonly minMemory: string;
  readonly minCores?: number;
  readonly features?: object;
  readonly firmware?: object;
  readonly tpm?: object;
  readonly isTransitional?: boolean;
  readonly isDeprecated?: boolean;
  readonly memory?: Partial<Record<Flavor, string>>;
  readonly cores?: number;
  readonly architectures: readonly string[];
}

const range = (prefix: string, from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => `${prefix}${from + index}`);
const SMALL_UP = ['small', 'medium', 'large'] as const;
const TINY_UP = ['tiny', ...SMALL_UP] as const;
const ALL = ['desktop', 'highperformance', 'server'] as const;
const SECURE = { features: { smm: { enabled: true } }, firmware: { bootloader: { efi: {} } } };
const THREE = ['amd64', 'arm64', 's390x'];

const linux = { disk: '30Gi', flavors: SMALL_UP, architectures: THREE };
const windows = {
  icon: 'windows',
  disk: '60Gi',
  flavors: ['medium', 'large'],
  architectures: ['amd64'],
  minMemory: '512Mi',
} as const;
const EFI = { firmware: { bootloader: { efi: { secureBoot: true } } } };
const PERSISTENT = { firmware: { bootloader: { efi: { secureBoot: true, persistent: true } } }, tpm: { persistent: true } };

/** The systems that common templates exist for. */
export const SYSTEMS: readonly System[] = [
  {
    ...linux,
    name: 'centos-stream9',
    title: 'CentOS Stream 9',
    prefix: 'centos-stream9',
    dataSource: 'centos-stream9',
    ids: ['centos-stream9'],
    icon: 'centos',
    workloads: ['desktop', 'server'],
    flavors: TINY_UP,
    user: 'centos',
    minMemory: '1.5Gi',
    memory: { tiny: '1.5Gi' },
  },
  {
    ...linux,
    name: 'centos6',
    title: 'CentOS 6',
    prefix: 'centos6',
    dataSource: 'centos6',
    ids: range('centos6.', 0, 10),
    icon: 'centos',
    workloads: ['server'],
    flavors: TINY_UP,
    user: 'centos',
    minMemory: '512Mi',
    isTransitional: true,
    isDeprecated: true,
    architectures: ['amd64'],
  },
  {
    ...linux,
    ...SECURE,
    name: 'fedora',
    title: 'Fedora',
    prefix: 'fedora',
    dataSource: 'fedora',
    ids: ['fedora43'],
    icon: 'fedora',
    workloads: ALL,
    user: 'fedora',
    minMemory: '2Gi',
  },
  {
    ...linux,
    name: 'opensuse',
    title: 'OpenSUSE',
    prefix: 'opensuse',
    dataSource: 'opensuse',
    ids: ['opensuse15.5', 'opensuse15.6', 'opensuse16.0'],
    icon: 'opensuse',
    workloads: ['server'],
    user: 'opensuse',
    minMemory: '1Gi',
    architectures: ['amd64'],
  },
  {
    ...linux,
    name: 'rhel7',
    title: 'Red Hat Enterprise Linux 7',
    prefix: 'rhel7',
    dataSource: 'rhel7',
    ids: range('rhel7.', 0, 9),
    icon: 'rhel',
    workloads: ALL,
    flavors: TINY_UP,
    user: 'cloud-user',
    minMemory: '1Gi',
    architectures: ['amd64'],
  },
  {
    ...linux,
    name: 'rhel8',
    title: 'Red Hat Enterprise Linux 8',
    prefix: 'rhel8',
    dataSource: 'rhel8',
    ids: range('rhel8.', 0, 10),
    icon: 'rhel',
    workloads: ALL,
    flavors: TINY_UP,
    user: 'cloud-user',
    minMemory: '1.5Gi',
    memory: { tiny: '1.5Gi' },
    architectures: ['amd64', 's390x'],
  },
  {
    ...linux,
    ...SECURE,
    name: 'rhel9',
    title: 'Red Hat Enterprise Linux 9',
    prefix: 'rhel9',
    dataSource: 'rhel9',
    ids: range('rhel9.', 0, 8),
    icon: 'rhel',
    workloads: ALL,
    flavors: TINY_UP,
    user: 'cloud-user',
    minMemory: '1.5Gi',
    memory: { tiny: '1.5Gi' },
  },
  {
    ...linux,
    name: 'ubuntu',
    title: 'Ubuntu',
    prefix: 'ubuntu',
    dataSource: 'ubuntu',
    ids: ['ubuntu18.04', 'ubuntu20.04', 'ubuntu22.04', 'ubuntu24.04', 'ubuntu25.10'],
    icon: 'ubuntu',
    workloads: ['desktop', 'server'],
    user: 'ubuntu',
    minMemory: '2Gi',
    memory: { small: '3Gi' },
  },
  {
    ...windows,
    ...EFI,
    name: 'windows10',
    title: 'Microsoft Windows 10',
    prefix: 'windows10',
    dataSource: 'win10',
    ids: ['win10'],
    workloads: ['desktop', 'highperformance'],
    minMemory: '2Gi',
  },
  {
    ...windows,
    ...PERSISTENT,
    name: 'windows11',
    title: 'Microsoft Windows 11',
    prefix: 'windows11',
    dataSource: 'win11',
    ids: ['win11'],
    workloads: ['desktop', 'highperformance'],
    disk: '64Gi',
    minMemory: '4Gi',
    minCores: 2,
    cores: 2,
  },
  {
    ...windows,
    ...EFI,
    name: 'windows2k16',
    title: 'Microsoft Windows Server 2016',
    prefix: 'windows2016',
    dataSource: 'win2k16',
    ids: ['win2k16'],
    workloads: ['server', 'highperformance'],
  },
  {
    ...windows,
    ...EFI,
    name: 'windows2k19',
    title: 'Microsoft Windows Server 2019',
    prefix: 'windows2019',
    dataSource: 'win2k19',
    ids: ['win2k19'],
    workloads: ['server', 'highperformance'],
  },
  {
    ...windows,
    ...PERSISTENT,
    name: 'windows2k22',
    title: 'Microsoft Windows Server 2022',
    prefix: 'windows2022',
    dataSource: 'win2k22',
    ids: ['win2k22'],
    workloads: ['server', 'highperformance'],
  },
  {
    ...windows,
    ...PERSISTENT,
    name: 'windows2k25',
    title: 'Microsoft Windows Server 2025',
    prefix: 'windows2025',
    dataSource: 'win2k25',
    ids: ['win2k25'],
    workloads: ['server', 'highperformance'],
    disk: '64Gi',
  },
];

/** DataSources that templates refer to. */
export const DATA_SOURCES: readonly string[] = [...new Set(SYSTEMS.map(({ dataSource }) => dataSource))];
