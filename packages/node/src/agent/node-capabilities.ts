import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { cpus, hostname, totalmem, release } from 'node:os';
import type { KvmState } from '../kvm/index.ts';
import type { HostCapabilities as QemuCapabilities } from '../sandbox/host-capabilities.ts';
import { readHugePages } from './huge-pages.ts';
import type { NodeCapabilities } from './node-object.ts';

export interface NodeCapabilitiesInput {
  readonly stateDir: string;
  readonly agentVersion: string;
  readonly kvm: KvmState;
  /** What libvirt says of QEMU and the processor. */
  readonly qemu: QemuCapabilities;
}

/** Adds what the kernel and the distribution say. */
export function readNodeCapabilities({ stateDir, agentVersion, kvm, qemu }: NodeCapabilitiesInput): NodeCapabilities {
  const disk = statfsSync(stateDir);
  return {
    machineTypes: qemu.machineTypes,
    cpuModels: qemu.cpuModels,
    cpuFeatures: qemu.hostFeatures,
    hostCpuModel: qemu.hostModel === '' ? undefined : qemu.hostModel,
    cpuVendor: qemu.hostVendor === '' ? undefined : qemu.hostVendor,
    libvirtVersion: qemu.libvirtVersion,
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
    kvm,
    hasVhostNet: existsSync('/dev/vhost-net'),
    hasVhostVsock: existsSync('/dev/vhost-vsock'),
    hugePages: readHugePages(),
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
