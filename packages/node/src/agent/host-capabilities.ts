import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { cpus, hostname, totalmem, release } from 'node:os';
import type { KvmState } from '../kvm/index.ts';
import type { HostCapabilities } from './node-object.ts';

/** What libvirt's two capability documents say about guests on this machine. */
export interface QemuCapabilities {
  readonly machineTypes: readonly string[];
  readonly cpuModels: readonly string[];
  readonly cpuFeatures: readonly string[];
  readonly hostCpuModel: string | undefined;
  readonly cpuVendor: string | undefined;
}

const unique = (values: readonly string[]): string[] => [...new Set(values)];
const captures = (xml: string, pattern: RegExp): string[] => [...xml.matchAll(pattern)].flatMap((match) => match[1] ?? []);

/** Reads `capabilities` (machine types, host CPU) and `domcapabilities` (models and host-model of the accelerator). */
export function parseQemuCapabilities(capabilities: string, domainCapabilities: string): QemuCapabilities {
  const guest = capabilities.match(/<guest>(?:(?!<\/guest>)[\s\S])*<arch name='x86_64'>[\s\S]*?<\/guest>/)?.[0] ?? '';
  const hostCpu = capabilities.match(/<host>[\s\S]*?<cpu>([\s\S]*?)<\/cpu>/)?.[1] ?? '';
  const hostModel = domainCapabilities.match(/<mode name='host-model' supported='yes'>([\s\S]*?)<\/mode>/)?.[1] ?? '';
  return {
    machineTypes: unique(captures(guest, /<machine\b[^>]*>([^<]+)<\/machine>/g)),
    cpuModels: unique(captures(domainCapabilities, /<model usable='yes'[^>]*>([^<]+)<\/model>/g)),
    cpuFeatures: unique([
      ...captures(hostModel, /<feature policy='require' name='([^']+)'/g),
      ...captures(hostCpu, /<feature name='([^']+)'/g),
    ]),
    hostCpuModel: hostModel.match(/<model\b[^>]*>([^<]+)<\/model>/)?.[1],
    cpuVendor: (hostModel.match(/<vendor>([^<]+)<\/vendor>/) ?? hostCpu.match(/<vendor>([^<]+)<\/vendor>/))?.[1],
  };
}

export interface HostCapabilitiesInput {
  readonly stateDir: string;
  readonly agentVersion: string;
  readonly libvirtVersion: string;
  readonly kvm: KvmState;
  readonly qemu: QemuCapabilities;
}

/** Adds what the kernel and the distribution say. */
export function readHostCapabilities({
  stateDir,
  agentVersion,
  libvirtVersion,
  kvm,
  qemu,
}: HostCapabilitiesInput): HostCapabilities {
  const disk = statfsSync(stateDir);
  return {
    ...qemu,
    hostname: hostname(),
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    cpuCount: cpus().length,
    memoryBytes: totalmem(),
    diskBytes: disk.blocks * disk.bsize,
    kernelVersion: release(),
    osImage: readText('/etc/os-release').match(/^PRETTY_NAME="?([^"\n]*)/m)?.[1] ?? 'Linux',
    machineId: readText('/etc/machine-id').trim(),
    bootId: readText('/proc/sys/kernel/random/boot_id').trim(),
    agentVersion,
    libvirtVersion,
    kvm,
    hasVhostNet: existsSync('/dev/vhost-net'),
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
