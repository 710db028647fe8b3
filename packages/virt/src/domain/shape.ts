import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { bytesOf, type Quantity, unitsOf } from '../quantity.ts';

/** Sockets, cores and threads with their defaults, from the spec alone. */
export interface CpuTopology {
  readonly sockets: number;
  readonly cores: number;
  readonly threads: number;
}

/** The guest's CPU topology at boot; without one in the spec the CPU limit or request gives the sockets. */
export function cpuTopology(domain: kubevirt.DomainSpec): CpuTopology {
  const { sockets = 0, cores = 0, threads = 0 } = domain.cpu ?? {};
  if (sockets + cores + threads === 0) {
    return { sockets: requestedCpus(domain), cores: 1, threads: 1 };
  }
  return { sockets: sockets || 1, cores: cores || 1, threads: threads || 1 };
}

function requestedCpus({ resources }: kubevirt.DomainSpec): number {
  const requested = resources?.limits?.['cpu'] ?? resources?.requests?.['cpu'];
  return requested === undefined ? 1 : Math.max(1, Number(unitsOf(requested)));
}

export function vcpuCount(topology: CpuTopology): number {
  return topology.sockets * topology.cores * topology.threads;
}

/** Guest memory: memory.guest, else requests, limits or the huge page size. */
export function guestMemory(domain: kubevirt.DomainSpec): Quantity | undefined {
  return (
    domain.memory?.guest ??
    domain.resources?.requests?.['memory'] ??
    domain.resources?.limits?.['memory'] ??
    domain.memory?.hugepages?.pageSize
  );
}

export function guestMemoryBytes(domain: kubevirt.DomainSpec): number {
  const quantity = guestMemory(domain);
  return quantity === undefined ? 0 : bytesOf(quantity);
}

export const isAmd64 = (architecture: string | undefined): boolean => architecture === undefined || architecture === 'amd64';
export const isArm64 = (architecture: string | undefined): boolean => architecture === 'arm64';
export const isS390x = (architecture: string | undefined): boolean => architecture === 's390x';

/** QEMU's name of the architecture. */
export function qemuArchitecture(architecture: string | undefined): string {
  if (isArm64(architecture)) return 'aarch64';
  return isS390x(architecture) ? 's390x' : 'x86_64';
}

/** Encrypted guests need every virtio device behind the IOMMU. */
export function needsIommu(domain: kubevirt.DomainSpec): boolean {
  return domain.launchSecurity?.sev !== undefined || domain.launchSecurity?.snp !== undefined;
}

/** Model name of the virtio devices that have transitional variants. */
export function virtioModel(vmi: VirtualMachineInstance): string {
  if (isS390x(vmi.spec.architecture)) return 'virtio';
  return vmi.spec.domain.devices.useVirtioTransitional ? 'virtio-transitional' : 'virtio-non-transitional';
}

/** Which disk target a disk uses; a disk without one is a plain disk. */
export function diskTarget(disk: kubevirt.Disk): { readonly device: 'disk' | 'cdrom' | 'lun'; readonly bus: string } {
  if (disk.cdrom) return { device: 'cdrom', bus: disk.cdrom.bus ?? '' };
  if (disk.lun) return { device: 'lun', bus: disk.lun.bus ?? '' };
  return { device: 'disk', bus: disk.disk?.bus ?? '' };
}
