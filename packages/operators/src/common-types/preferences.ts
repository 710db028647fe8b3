import type { Fields } from '../kinds.ts';
import { bundleLabels, type CommonType } from './instance-types.ts';

const GROUP = 'instancetype.kubevirt.io';

/** What a preference has beyond its family. */
interface Extras {
  readonly io?: boolean;
  readonly tablet?: boolean;
  /** UEFI; `true` with secure boot. */
  readonly efi?: boolean;
  readonly arch?: string;
  readonly multiqueue?: boolean;
  readonly spread?: Fields;
  readonly extra?: Fields;
  readonly devices?: Fields;
}
type Row = readonly [name: string, title: string, cpu: number, memory: string, extras?: Extras];

const X86 = { efi: true, arch: 'amd64' };
const RATIO = { across: 'SocketsCoresThreads', ratio: 4 };
const LINUX: readonly Row[] = [
  ['alpine', 'Alpine Linux', 1, '512Mi'],
  ['centos.stream10', 'CentOS Stream 10', 1, '1.5Gi', { io: true }],
  ['centos.stream10.desktop', 'CentOS Stream 10 Desktop', 1, '1.5Gi', { io: true, tablet: true }],
  ['centos.stream9', 'CentOS Stream 9', 1, '1.5Gi', { io: true }],
  ['centos.stream9.desktop', 'CentOS Stream 9 Desktop', 1, '1.5Gi', { io: true, tablet: true }],
  ['centos.stream9.dpdk', 'CentOS Stream 9 DPDK', 8, '1.5Gi', { io: true, multiqueue: true, spread: RATIO }],
  ['cirros', 'Cirros', 1, '256Mi'],
  ['debian', 'Debian', 1, '512Mi', { efi: false }],
  ['fedora', 'Fedora', 1, '2Gi', X86],
  ['fedora.arm64', 'Fedora', 1, '2Gi', { arch: 'arm64' }],
  ['fedora.s390x', 'Fedora', 1, '2Gi', { arch: 's390x' }],
  ['linux', 'Linux', 0, ''],
  ['linux.efi', 'Linux with UEFI', 0, '', { efi: false }],
  ['linux.virtiotransitional', 'Linux with transitional virtio', 0, '', { devices: { preferredUseVirtioTransitional: true } }],
  ['opensuse.leap', 'OpenSUSE Leap', 1, '2Gi'],
  ['opensuse.tumbleweed', 'OpenSUSE Tumbleweed', 1, '2Gi'],
  ['oraclelinux', 'Oracle Linux', 2, '4Gi', { efi: false }],
  ['rhel.10', 'Red Hat Enterprise Linux 10', 1, '1.5Gi', { io: true, ...X86 }],
  ['rhel.10.arm64', 'Red Hat Enterprise Linux 10', 1, '1.5Gi', { io: true, arch: 'arm64' }],
  ['rhel.10.s390x', 'Red Hat Enterprise Linux 10', 1, '1.5Gi', { io: true, arch: 's390x' }],
  ['rhel.7', 'Red Hat Enterprise Linux 7', 1, '1Gi'],
  ['rhel.7.desktop', 'Red Hat Enterprise Linux 7 Desktop', 1, '1Gi', { tablet: true }],
  ['rhel.8', 'Red Hat Enterprise Linux 8', 1, '1.5Gi'],
  ['rhel.8.desktop', 'Red Hat Enterprise Linux 8 Desktop', 1, '1.5Gi', { tablet: true }],
  ['rhel.8.dpdk', 'Red Hat Enterprise Linux 8 DPDK', 8, '1.5Gi', { multiqueue: true, spread: RATIO }],
  ['rhel.9', 'Red Hat Enterprise Linux 9', 1, '1.5Gi', { io: true, ...X86 }],
  ['rhel.9.arm64', 'Red Hat Enterprise Linux 9', 1, '1.5Gi', { io: true, arch: 'arm64' }],
  ['rhel.9.desktop', 'Red Hat Enterprise Linux 9 Desktop', 1, '1.5Gi', { io: true, tablet: true, ...X86 }],
  ['rhel.9.dpdk', 'Red Hat Enterprise Linux 9 DPDK', 8, '1.5Gi', { io: true, multiqueue: true, spread: RATIO, ...X86 }],
  [
    ...(['rhel.9.realtime', 'Red Hat Enterprise Linux 9 Realtime', 4, '4Gi'] as const),
    {
      ...{ io: true, multiqueue: true, spread: { across: 'SocketsCoresThreads' }, ...X86 },
      devices: {
        preferredAutoattachGraphicsDevice: false,
        preferredAutoattachMemBalloon: false,
        preferredAutoattachSerialConsole: true,
      },
    },
  ],
  ['rhel.9.s390x', 'Red Hat Enterprise Linux 9', 1, '1.5Gi', { io: true, arch: 's390x' }],
  ['sles', 'SUSE Linux Enterprise Server', 1, '2Gi'],
  ['ubuntu', 'Ubuntu', 1, '2Gi'],
];

type Firmware = 'bios' | 'secure' | 'persistent';
type WindowsRow = readonly [
  name: string,
  title: string,
  cpu: number,
  memory: string,
  firmware: Firmware,
  nic?: string,
  isVirtioToo?: boolean,
];
const NO_HOLE = ['windows.2k3', 'windows.xp'];
const WINDOWS: readonly WindowsRow[] = [
  ['windows.10', 'Microsoft Windows 10', 1, '2Gi', 'secure'],
  ['windows.11', 'Microsoft Windows 11', 2, '4Gi', 'persistent'],
  ['windows.2k12', 'Microsoft Windows Server 2012', 1, '512Mi', 'bios'],
  ['windows.2k16', 'Microsoft Windows Server 2016', 1, '2Gi', 'secure'],
  ['windows.2k19', 'Microsoft Windows Server 2019', 1, '2Gi', 'secure'],
  ['windows.2k22', 'Microsoft Windows Server 2022', 1, '2Gi', 'persistent'],
  ['windows.2k25', 'Microsoft Windows Server 2025', 1, '2Gi', 'persistent'],
  ['windows.2k3', 'Microsoft Windows Server 2003', 1, '256Mi', 'bios', 'rtl8139', false],
  ['windows.2k8', 'Microsoft Windows Server 2008', 1, '512Mi', 'bios', 'e1000'],
  ['windows.7', 'Microsoft Windows 7', 1, '2Gi', 'bios'],
  ['windows.xp', 'Microsoft Windows XP', 1, '128Mi', 'bios', 'rtl8139', false],
];

/** All common preferences. */
export const preferences = (): readonly CommonType[] => [
  ...LINUX.map(linuxPreference),
  preference('legacy', 'Legacy', 'legacy', { devices: { preferredDiskBus: 'sata', preferredInterfaceModel: 'e1000' } }),
  ...WINDOWS.flatMap((row) => [windowsPreference(row, false), ...(row[6] === false ? [] : [windowsPreference(row, true)])]),
];

function preference(
  name: string,
  title: string,
  os: 'linux' | 'windows' | 'legacy',
  spec: Fields,
  facts: Record<string, string> = {},
): CommonType {
  const labels = Object.fromEntries(
    Object.entries({ 'os-type': os, ...facts }).map(([key, value]) => [`${GROUP}/${key}`, value]),
  );
  return {
    apiVersion: `${GROUP}/v1beta1`,
    kind: 'VirtualMachineClusterPreference',
    metadata: {
      name,
      labels: { ...bundleLabels(), ...labels },
      annotations: {
        'openshift.io/display-name': title,
        iconClass: `icon-${name.split('.')[0]}`,
        tags: `hidden,kubevirt,${os === 'windows' ? 'windows' : 'linux'},${name.split('.')[0]}`,
      },
    },
    spec: { annotations: { 'vm.kubevirt.io/os': os }, ...spec },
  };
}

function requirements(cpu: number, memory: string, arch?: string): { spec: Fields; facts: Record<string, string> } {
  if (cpu === 0) return { spec: {}, facts: {} };
  const isFixed = arch !== undefined;
  return {
    spec: { requirements: { cpu: { guest: cpu }, memory: { guest: memory }, ...(isFixed && { architecture: arch }) } },
    facts: {
      ...{ 'required-cpu': String(cpu), 'required-memory': memory },
      ...(isFixed && { arch, 'preferred-architecture': arch, 'required-architecture': arch }),
    },
  };
}

function linuxPreference([name, title, cpu, memory, extras = {}]: Row): CommonType {
  const { io, tablet, efi, arch, multiqueue, spread, devices } = extras;
  const needs = requirements(cpu, memory, arch);
  const topology = spread && { cpu: { preferredCPUTopology: 'spread', spreadOptions: spread } };
  return preference(
    name,
    title,
    'linux',
    {
      devices: {
        ...{ preferredDiskBus: 'virtio', preferredInterfaceModel: 'virtio', preferredRng: {} },
        ...(io && { preferredDiskDedicatedIoThread: true }),
        ...(tablet && { preferredAutoattachInputDevice: true, preferredInputBus: 'virtio', preferredInputType: 'tablet' }),
        ...(multiqueue && { preferredNetworkInterfaceMultiQueue: true }),
        ...devices,
      },
      ...(efi !== undefined && { firmware: { preferredEfi: { secureBoot: efi } } }),
      ...(efi === true && { features: { preferredSmm: {} } }),
      ...topology,
      ...(arch !== undefined && { preferredArchitecture: arch }),
      ...needs.spec,
    },
    needs.facts,
  );
}

const HYPERV_FLAGS = [
  'relaxed',
  'vapic',
  'vpindex',
  'synic',
  'tlbflush',
  'frequencies',
  'reenlightenment',
  'ipi',
  'runtime',
  'reset',
];
const HYPERV: Fields = {
  ...Object.fromEntries(HYPERV_FLAGS.map((flag) => [flag, {}])),
  spinlocks: { spinlocks: 8191 },
  synictimer: { direct: {} },
};

function windowsPreference([name, title, cpu, memory, firmware, nic = 'e1000e']: WindowsRow, isVirtio: boolean): CommonType {
  const needs = requirements(cpu, memory);
  const hasUefi = firmware !== 'bios';
  const devices = isVirtio
    ? {
        preferredDiskBus: 'virtio',
        preferredInterfaceModel: 'virtio',
        preferredInputBus: 'virtio',
        preferredInputType: 'tablet',
        preferredVideoType: 'virtio',
      }
    : { preferredDiskBus: 'sata', preferredInterfaceModel: nic, preferredInputBus: 'usb', preferredInputType: 'tablet' };
  return preference(
    isVirtio ? `${name}.virtio` : name,
    isVirtio ? `${title} (virtio)` : title,
    'windows',
    {
      annotations: { 'vm.kubevirt.io/os': 'windows', ...(NO_HOLE.includes(name) && { 'kubevirt.io/disablePCIHole64': 'true' }) },
      cpu: { preferredCPUTopology: 'sockets' },
      clock: {
        preferredClockOffset: { utc: {} },
        preferredTimer: { hpet: { present: false }, hyperv: {}, pit: { tickPolicy: 'delay' }, rtc: { tickPolicy: 'catchup' } },
      },
      devices: {
        ...devices,
        preferredAutoattachInputDevice: true,
        ...(firmware === 'persistent' && { preferredTPM: { persistent: true } }),
      },
      features: { preferredAcpi: {}, preferredApic: {}, preferredHyperv: HYPERV, ...(hasUefi && { preferredSmm: {} }) },
      ...(hasUefi && {
        firmware: { preferredEfi: { secureBoot: true, ...(firmware === 'persistent' && { persistent: true }) } },
      }),
      preferredTerminationGracePeriodSeconds: 3600,
      ...needs.spec,
    },
    needs.facts,
  );
}
