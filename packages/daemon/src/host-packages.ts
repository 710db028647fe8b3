import { readFileSync } from 'node:fs';
import { runAttached } from '@slipway/hostapi';
import type { Progress } from './progress.ts';
import { UserError } from './report-failure.ts';

/** What building guests and running every suite needs, beside what the platform needs to run. */
export const RUN_PACKAGES: readonly string[] = [
  'qemu-system-x86',
  'qemu-utils',
  'libvirt-daemon-system',
  'libvirt-daemon-driver-qemu',
  'ovmf',
  'swtpm',
  'swtpm-tools',
  'nftables',
  'iproute2',
  'util-linux',
  'xz-utils',
  'zstd',
  'bzip2',
  'containernetworking-plugins',
];

/** For `slipway dev guest-image` and the demo. */
export const GUEST_PACKAGES: readonly string[] = [
  'busybox-static',
  'cpio',
  'debootstrap',
  'dosfstools',
  'e2fsprogs',
  'fdisk',
  'grub-common',
  'grub-efi-amd64-bin',
  'grub-pc-bin',
  'mtools',
];

/** Debian's kubectl; only installed where there is none. */
export const KUBECTL_PACKAGE = 'kubernetes-client';

export const BENCH_PACKAGES: readonly string[] = [...RUN_PACKAGES, ...GUEST_PACKAGES, 'libvirt-clients', 'virtinst'];
export const TEST_PACKAGES: readonly string[] = [
  ...BENCH_PACKAGES,
  'bsdutils',
  'curl',
  'genisoimage',
  'git',
  'procps',
  'prometheus',
];

/** Names that dpkg's database calls installed. */
export function parseInstalled(database: string): Set<string> {
  const installed = new Set<string>();
  for (const paragraph of database.split('\n\n')) {
    const name = paragraph.match(/^Package: (.+)$/m)?.[1];
    if (name !== undefined && /^Status: .* installed$/m.test(paragraph)) installed.add(name);
  }
  return installed;
}

export function missingFrom(database: string, packages: readonly string[]): string[] {
  const installed = parseInstalled(database);
  return packages.filter((name) => !installed.has(name));
}

const readDatabase = (): string | undefined => {
  try {
    return readFileSync('/var/lib/dpkg/status', 'utf8');
  } catch {
    return undefined; // not a Debian: doctor checks for the programs themselves
  }
};

/** Installs Debian packages that are missing; without `yes` it only says which. */
export async function ensureHostPackages(
  packages: readonly string[],
  options: { yes: boolean; progress: Progress },
): Promise<void> {
  const database = readDatabase();
  if (database === undefined) return;
  const missing = missingFrom(database, packages);
  if (missing.length === 0) return;
  if (!options.yes)
    throw new UserError(
      `These Debian packages are missing: ${missing.join(' ')}. Install them, or repeat the command with --yes`,
    );
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
  const apt = async (args: readonly string[]) => {
    const argv: [string, ...string[]] = ['apt-get', '-q', '-o', 'Dpkg::Use-Pty=0', ...args];
    const status = await runAttached(argv, { env, onStdout: (line) => options.progress.detail(line.slice(0, 100)) });
    if (status !== 0) throw new UserError(`apt-get ${args[0]} failed with status ${status}; its messages are above`);
  };
  options.progress.step(`installing ${missing.length} Debian packages`);
  await apt(['update']);
  // A service that the package starts would be a second libvirtd beside ours: nothing of the host's is started for us.
  await apt(['install', '-y', '--no-install-recommends', ...missing]);
  options.progress.done();
}
