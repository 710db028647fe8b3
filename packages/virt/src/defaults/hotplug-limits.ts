import type { kubevirt } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import { isAmd64 } from '../domain/shape.ts';
import { binaryQuantity, bytesOf } from '../quantity.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const MAX_VCPUS = 512;
const DEFAULT_RATIO = 4;

function sizeObstacle(guest: number, max: number, block: number): string | undefined {
  if (guest > max) return 'Guest memory is greater than the configured maxGuest memory';
  if (max % block !== 0) return `MaxGuest must be ${binaryQuantity(block)} aligned`;
  if (guest % block !== 0) return `Guest memory must be ${binaryQuantity(block)} aligned`;
  return undefined;
}

/** Why memory of this guest cannot grow while it runs; undefined when it can. */
export function memoryHotplugObstacle(spec: kubevirt.VirtualMachineInstanceSpec, maxGuest: string | number): string | undefined {
  const { cpu, launchSecurity, memory } = spec.domain;
  if (cpu?.realtime) return 'Memory hotplug is not compatible with realtime VMs';
  if (cpu?.numa?.guestMappingPassthrough) return 'Memory hotplug is not compatible with guest mapping passthrough';
  if (launchSecurity) return 'Memory hotplug is not compatible with encrypted VMs';
  if (memory?.guest === undefined) return 'Guest memory must be configured when memory hotplug is enabled';
  const guest = bytesOf(memory.guest);
  const size = sizeObstacle(guest, bytesOf(maxGuest), memory.hugepages?.pageSize === '1Gi' ? GIB : 2 * MIB);
  if (size !== undefined) return size;
  if (!isAmd64(spec.architecture)) return 'Memory hotplug is only available for x86_64 VMs';
  return guest < GIB ? 'Memory hotplug is only available for VMs with at least 1Gi of guest memory' : undefined;
}

function defaultMaxSockets(domain: kubevirt.DomainSpec, config: ClusterConfig): void {
  const { cpu } = domain;
  if (!cpu || cpu.maxSockets) return;
  const live = config.configuration.liveUpdateConfiguration;
  const sockets = cpu.sockets || 1;
  const perSocket = (cpu.cores || 1) * (cpu.threads || 1);
  const wanted = live?.maxCpuSockets ?? sockets * (live?.maxHotplugRatio ?? DEFAULT_RATIO);
  const limited = Math.min(wanted, Math.floor(MAX_VCPUS / perSocket));
  cpu.maxSockets = Math.max(limited, sockets);
}

function defaultMaxGuest(spec: kubevirt.VirtualMachineInstanceSpec, config: ClusterConfig): void {
  const { memory } = spec.domain;
  if (memory?.guest === undefined || memory.maxGuest !== undefined) return;
  const live = config.configuration.liveUpdateConfiguration;
  const ratio = live?.maxHotplugRatio ?? DEFAULT_RATIO;
  const max = live?.maxGuest ?? binaryQuantity(bytesOf(memory.guest) * ratio);
  if (memoryHotplugObstacle(spec, max) === undefined) memory.maxGuest = max;
}

/** Room for plugging in CPUs and memory later, when the cluster rolls changes out to running guests. */
export function defaultHotplugLimits(spec: kubevirt.VirtualMachineInstanceSpec, config: ClusterConfig): void {
  if ((config.configuration.vmRolloutStrategy ?? 'LiveUpdate') !== 'LiveUpdate') return;
  defaultMaxSockets(spec.domain, config);
  defaultMaxGuest(spec, config);
}
