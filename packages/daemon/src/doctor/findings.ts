/** What `slipway doctor` found out about the host, before judging it. */
export interface HostFacts {
  readonly isRoot: boolean;
  readonly architecture: string;
  readonly distribution: string;
  /** Programs by name → absolute path, undefined when missing. */
  readonly programs: Readonly<Record<string, string | undefined>>;
  readonly devices: Readonly<Record<string, boolean>>;
  /** `usable`, `absent`, or the reason why the device cannot run guests. */
  readonly kvm: { readonly state: 'usable' | 'absent' | 'unusable'; readonly reason: string };
  readonly firmwareDescriptors: number;
  readonly cniPluginDir: string | undefined;
  readonly cgroups: string;
  readonly freeDiskBytes: number;
  readonly freeMemoryBytes: number;
  readonly dataDir: string;
}

export type Severity = 'ok' | 'note' | 'warning' | 'error';

export interface Finding {
  readonly check: string;
  readonly severity: Severity;
  readonly message: string;
  /** What to do; absent when nothing has to be done. */
  readonly remedy?: string;
}

interface RequiredProgram {
  readonly program: string;
  readonly debianPackage: string;
  readonly purpose: string;
  readonly severity: Severity;
}

/** Programs the node agent runs, with the Debian package that has each. */
export const PROGRAMS: readonly RequiredProgram[] = [
  { program: 'qemu-system-x86_64', debianPackage: 'qemu-system-x86', purpose: 'runs the guests', severity: 'error' },
  { program: 'qemu-img', debianPackage: 'qemu-utils', purpose: 'converts images', severity: 'error' },
  { program: 'libvirtd', debianPackage: 'libvirt-daemon-system', purpose: 'manages each guest', severity: 'error' },
  { program: 'ip', debianPackage: 'iproute2', purpose: 'makes guest networks', severity: 'error' },
  { program: 'nft', debianPackage: 'nftables', purpose: 'makes guest networks', severity: 'error' },
  { program: 'setpriv', debianPackage: 'util-linux', purpose: 'drops privileges', severity: 'error' },
  { program: 'xz', debianPackage: 'xz-utils', purpose: 'unpacks images', severity: 'error' },
  { program: 'zstd', debianPackage: 'zstd', purpose: 'unpacks images', severity: 'warning' },
  { program: 'bzip2', debianPackage: 'bzip2', purpose: 'unpacks images', severity: 'warning' },
  { program: 'swtpm', debianPackage: 'swtpm', purpose: 'gives guests a TPM', severity: 'warning' },
];

/** Debian packages that hold files rather than programs. */
const FILE_PACKAGES = {
  firmware: 'ovmf',
  cni: 'containernetworking-plugins',
  libvirtQemu: 'libvirt-daemon-driver-qemu',
} as const;

const GIB = 1024 ** 3;

/** Judges the host; the order is the order in which a person should repair things. */
export function diagnose(facts: HostFacts): Finding[] {
  return [
    rootFinding(facts),
    architectureFinding(facts),
    ...PROGRAMS.map((program) => programFinding(program, facts)),
    firmwareFinding(facts),
    cniFinding(facts),
    kvmFinding(facts),
    tunFinding(facts),
    cgroupFinding(facts),
    diskFinding(facts),
    memoryFinding(facts),
  ];
}

/** Debian packages to install so that no finding of severity error or warning about missing software is left. */
export function missingPackages(facts: HostFacts): string[] {
  const packages = PROGRAMS.filter(({ program }) => facts.programs[program] === undefined).map((entry) => entry.debianPackage);
  if (packages.includes('libvirt-daemon-system')) packages.push(FILE_PACKAGES.libvirtQemu);
  if (packages.includes('swtpm')) packages.push('swtpm-tools');
  if (facts.firmwareDescriptors === 0) packages.push(FILE_PACKAGES.firmware);
  if (facts.cniPluginDir === undefined) packages.push(FILE_PACKAGES.cni);
  return [...new Set(packages)];
}

const installRemedy = (debianPackage: string): string => `apt-get install ${debianPackage}, or let \`slipway up --yes\` do it`;

const rootFinding = ({ isRoot }: HostFacts): Finding =>
  isRoot
    ? { check: 'root', severity: 'ok', message: 'running as root' }
    : {
        check: 'root',
        severity: 'error',
        message: 'not running as root',
        remedy: 'run it with sudo: guests need namespaces, taps and nftables',
      };

const architectureFinding = ({ architecture, distribution }: HostFacts): Finding =>
  architecture === 'x64'
    ? { check: 'host', severity: 'ok', message: `${distribution} on x86-64` }
    : {
        check: 'host',
        severity: 'warning',
        message: `${distribution} on ${architecture}: only x86-64 hosts are tested`,
        remedy: 'expect gaps, and report them',
      };

function programFinding({ program, debianPackage, purpose, severity }: RequiredProgram, facts: HostFacts): Finding {
  const path = facts.programs[program];
  return path === undefined
    ? { check: program, severity, message: `${program} is missing (${purpose})`, remedy: installRemedy(debianPackage) }
    : { check: program, severity: 'ok', message: path };
}

const firmwareFinding = ({ firmwareDescriptors }: HostFacts): Finding =>
  firmwareDescriptors > 0
    ? { check: 'firmware', severity: 'ok', message: `${firmwareDescriptors} UEFI firmware descriptors` }
    : {
        check: 'firmware',
        severity: 'warning',
        message: 'no UEFI firmware: guests with `efi` cannot start',
        remedy: installRemedy(FILE_PACKAGES.firmware),
      };

const cniFinding = ({ cniPluginDir }: HostFacts): Finding =>
  cniPluginDir !== undefined
    ? { check: 'cni', severity: 'ok', message: `CNI plugins in ${cniPluginDir}` }
    : {
        check: 'cni',
        severity: 'note',
        message: 'no CNI plugins: only networks of type bridge without IPAM work',
        remedy: installRemedy(FILE_PACKAGES.cni),
      };

function kvmFinding({ kvm }: HostFacts): Finding {
  if (kvm.state === 'usable') return { check: 'kvm', severity: 'ok', message: 'KVM runs guest code' };
  return {
    check: 'kvm',
    severity: 'note',
    message: `guests run under software emulation (TCG): ${kvm.reason}`,
    remedy:
      kvm.state === 'absent'
        ? 'enable virtualization in the firmware, or nested virtualization on the hypervisor, and load kvm_intel or kvm_amd'
        : 'ask for a host whose KVM can run ordinary guests; everything works without, but slower',
  };
}

const tunFinding = ({ devices }: HostFacts): Finding =>
  devices['/dev/net/tun']
    ? { check: 'tun', severity: 'ok', message: '/dev/net/tun' }
    : { check: 'tun', severity: 'error', message: '/dev/net/tun is missing: guests get no network', remedy: 'modprobe tun' };

const cgroupFinding = ({ cgroups }: HostFacts): Finding =>
  cgroups === 'none'
    ? { check: 'cgroups', severity: 'note', message: 'no cgroups: guests run without limits', remedy: 'mount /sys/fs/cgroup' }
    : { check: 'cgroups', severity: 'ok', message: `cgroups ${cgroups}` };

const diskFinding = ({ freeDiskBytes, dataDir }: HostFacts): Finding =>
  freeDiskBytes >= 5 * GIB
    ? { check: 'disk', severity: 'ok', message: `${Math.floor(freeDiskBytes / GIB)} GiB free at ${dataDir}` }
    : {
        check: 'disk',
        severity: 'warning',
        message: `only ${(freeDiskBytes / GIB).toFixed(1)} GiB free at ${dataDir}`,
        remedy: 'free some space, or choose another place with --data-dir',
      };

const memoryFinding = ({ freeMemoryBytes }: HostFacts): Finding =>
  freeMemoryBytes >= GIB
    ? { check: 'memory', severity: 'ok', message: `${Math.floor(freeMemoryBytes / GIB)} GiB of memory available` }
    : {
        check: 'memory',
        severity: 'warning',
        message: `only ${Math.floor(freeMemoryBytes / 1024 ** 2)} MiB of memory available`,
        remedy: 'stop something, or start small guests only',
      };
