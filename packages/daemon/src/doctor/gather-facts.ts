import { existsSync, readdirSync, readFileSync, statfsSync } from 'node:fs';
import { freemem } from 'node:os';
import { dirname, join } from 'node:path';
import { detectCgroupMode, hostRunner } from '@slipway/hostapi';
import { type KvmState, probeKvm } from '@slipway/node';
import type { HostFacts } from './findings.ts';
import { PROGRAMS } from './findings.ts';
import { findProgram } from './programs.ts';

const FIRMWARE_DIR = '/usr/share/qemu/firmware';
const CNI_DIRS = ['/opt/cni/bin', '/usr/lib/cni'];

/** Looks at the host; changes nothing. */
export async function gatherHostFacts(dataDir: string): Promise<HostFacts> {
  const disk = statfsSync(existingParent(dataDir));
  return {
    isRoot: process.getuid?.() === 0,
    architecture: process.arch,
    distribution: readText('/etc/os-release').match(/^PRETTY_NAME="?([^"\n]*)/m)?.[1] ?? 'an unknown distribution',
    programs: Object.fromEntries(PROGRAMS.map(({ program }) => [program, findManager(program)])),
    devices: { '/dev/net/tun': existsSync('/dev/net/tun') },
    kvm: await kvmState(),
    firmwareDescriptors: existsSync(FIRMWARE_DIR) ? readdirSync(FIRMWARE_DIR).filter((name) => name.endsWith('.json')).length : 0,
    cniPluginDir: CNI_DIRS.find((path) => existsSync(join(path, 'bridge'))),
    cgroups: detectCgroupMode(),
    freeDiskBytes: disk.bavail * disk.bsize,
    freeMemoryBytes: Number(readText('/proc/meminfo').match(/^MemAvailable:\s+(\d+)/m)?.[1] ?? freemem() / 1024) * 1024,
    dataDir,
  };
}

/** Newer libvirt packages have the modular daemon instead of libvirtd. */
const findManager = (program: string): string | undefined =>
  findProgram(program) ?? (program === 'libvirtd' ? findProgram('virtqemud') : undefined);

async function kvmState(): Promise<KvmState> {
  const qemu = findProgram('qemu-system-x86_64');
  if (qemu === undefined) return { state: 'unusable', reason: 'QEMU is not installed, so KVM could not be tried' };
  return probeKvm({ runner: hostRunner, qemu }, new AbortController().signal);
}

const existingParent = (path: string): string => (existsSync(path) ? path : existingParent(dirname(path)));

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
