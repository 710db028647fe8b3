import type { VirtualMachineInstance } from '@slipway/api';
import { cpuTopology, guestMemory, isArm64, vcpuCount } from '../domain/shape.ts';
import { bytesOf, unitsOf } from '../quantity.ts';
import type { LauncherContext } from './context.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/** What the overhead depends on beside the instance. */
export type OverheadContext = Pick<LauncherContext, 'profile' | 'config' | 'emulation'>;

/** vCPUs that the pod must have room for. */
export function podVcpus(vmi: VirtualMachineInstance): number {
  const { domain } = vmi.spec;
  if (domain.cpu) return vcpuCount(cpuTopology(domain));
  const cpus = domain.resources?.limits?.['cpu'] ?? domain.resources?.requests?.['cpu'];
  return cpus === undefined ? 1 : Math.max(1, Number(unitsOf(cpus)));
}

/** True when requests and limits of CPU and memory are given and equal. */
export function isGuaranteed(vmi: VirtualMachineInstance): boolean {
  const { requests, limits } = vmi.spec.domain.resources ?? {};
  return ['cpu', 'memory'].every((name) => {
    const [request, limit] = [requests?.[name], limits?.[name]];
    return request !== undefined && limit !== undefined && bytesOf(request) === bytesOf(limit) && bytesOf(limit) > 0;
  });
}

/** Dedicated CPUs or guaranteed resources: helper containers get limits equal to requests. */
export function wantsGuaranteedQos(vmi: VirtualMachineInstance): boolean {
  return vmi.spec.domain.cpu?.dedicatedCpuPlacement === true || isGuaranteed(vmi);
}

export function usesVfio(vmi: VirtualMachineInstance): boolean {
  const { devices } = vmi.spec.domain;
  return (
    (devices.hostDevices ?? []).length > 0 ||
    (devices.gpus ?? []).length > 0 ||
    (devices.interfaces ?? []).some(({ sriov }) => sriov)
  );
}

function pageTableBytes(vmi: VirtualMachineInstance, divisor: number): number {
  if (divisor === 0) return 0;
  const memory = vmi.spec.domain.resources?.requests?.['memory'] ?? guestMemory(vmi.spec.domain);
  // KubeVirt-compat: the size is rounded up to thousands before it is divided.
  return memory === undefined ? 0 : Math.floor((Math.ceil(bytesOf(memory) / 1000) * 1000) / divisor);
}

function deviceBytes(vmi: VirtualMachineInstance, { profile }: OverheadContext): number {
  const { devices, launchSecurity } = vmi.spec.domain;
  const { overhead } = profile;
  let bytes = devices.autoattachGraphicsDevice === false ? 0 : overhead.graphicsBytes;
  if (usesVfio(vmi)) bytes += GIB;
  if ((vmi.spec.volumes ?? []).some(({ downwardMetrics }) => downwardMetrics)) bytes += MIB;
  if (launchSecurity?.sev ?? launchSecurity?.snp) bytes += 256 * MIB;
  if (devices.tpm && devices.tpm.enabled !== false) bytes += overhead.tpmBytes;
  return bytes;
}

function probeBytes(vmi: VirtualMachineInstance): number {
  const execs = [vmi.spec.livenessProbe, vmi.spec.readinessProbe].filter((probe) => probe?.exec).length;
  return execs === 0 ? 0 : (100 + 10 * execs) * MIB;
}

function pluginBytes(vmi: VirtualMachineInstance, { config }: OverheadContext): number {
  const interfaces = vmi.spec.domain.devices.interfaces ?? [];
  const plugins = new Set(interfaces.flatMap(({ binding }) => binding?.name ?? []));
  const bytes = [...plugins].map((name) => {
    const request = config.configuration.network?.binding?.[name]?.computeResourceOverhead?.requests?.['memory'];
    return request === undefined ? 0 : bytesOf(request);
  });
  const passt = interfaces.some(({ passtBinding }) => passtBinding) ? 250 * MIB : 0;
  return bytes.reduce((sum, each) => sum + each, passt);
}

/** Memory beyond the guest's own that the compute container may need. */
export function memoryOverheadBytes(vmi: VirtualMachineInstance, context: OverheadContext): number {
  const { overhead } = context.profile;
  const { domain } = vmi.spec;
  let bytes = pageTableBytes(vmi, overhead.pageTableDivisor) + overhead.fixedBytes + overhead.ioBytes;
  bytes += overhead.perVcpuBytes * podVcpus(vmi);
  bytes += deviceBytes(vmi, context) + probeBytes(vmi);
  if (context.emulation) bytes += overhead.translationCacheBytes;
  if (isArm64(vmi.spec.architecture)) bytes += 128 * MIB;
  if (wantsGuaranteedQos(vmi)) bytes += overhead.guaranteedBytes;
  const added = domain.memory?.reservedOverhead?.addedOverhead;
  if (added !== undefined && context.config.hasGate('ReservedOverheadMemlock')) bytes += bytesOf(added);
  const ratio = context.config.configuration.additionalGuestMemoryOverheadRatio;
  // KubeVirt-compat: the extra part is counted in whole thousands.
  if (ratio !== undefined && ratio !== '') bytes += Math.floor(Math.ceil(bytes / 1000) * (Number(ratio) - 1)) * 1000;
  return bytes + pluginBytes(vmi, context);
}
