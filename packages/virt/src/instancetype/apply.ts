import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { binaryQuantity, bytesOf } from '../quantity.ts';
import { preferredTopology } from './topology.ts';

type InstancetypeSpec = kubevirt.VirtualMachineInstancetypeSpec;
type Spec = kubevirt.VirtualMachineInstanceSpec;

interface Overlap {
  readonly path: string;
  readonly inVm: unknown;
  /** Undefined: the instance type always governs the field. */
  readonly inType?: unknown;
}

const always = true;

function cpuOverlaps({ domain }: Spec, { cpu: type }: InstancetypeSpec): readonly Overlap[] {
  const cpu = domain.cpu ?? {};
  const { requests, limits } = domain.resources ?? {};
  return [
    { path: 'domain.cpu.sockets', inVm: cpu.sockets || undefined, inType: always },
    { path: 'domain.cpu.cores', inVm: cpu.cores || undefined, inType: always },
    { path: 'domain.cpu.threads', inVm: cpu.threads || undefined, inType: always },
    { path: 'domain.cpu.model', inVm: cpu.model || undefined, inType: type.model },
    {
      path: 'domain.cpu.dedicatedCpuPlacement',
      inVm: cpu.dedicatedCpuPlacement || undefined,
      inType: type.dedicatedCPUPlacement,
    },
    {
      path: 'domain.cpu.isolateEmulatorThread',
      inVm: cpu.isolateEmulatorThread || undefined,
      inType: type.isolateEmulatorThread,
    },
    { path: 'domain.cpu.numa', inVm: cpu.numa, inType: type.numa },
    { path: 'domain.cpu.realtime', inVm: cpu.realtime, inType: type.realtime },
    { path: 'domain.resources.requests.cpu', inVm: requests?.['cpu'], inType: always },
    { path: 'domain.resources.limits.cpu', inVm: limits?.['cpu'], inType: always },
  ];
}

function otherOverlaps(spec: Spec, type: InstancetypeSpec): readonly Overlap[] {
  const { domain } = spec;
  const { requests, limits } = domain.resources ?? {};
  return [
    { path: 'domain.memory', inVm: domain.memory?.guest, inType: always },
    { path: 'domain.memory.hugepages', inVm: domain.memory?.hugepages, inType: type.memory.hugepages },
    { path: 'domain.memory.maxGuest', inVm: domain.memory?.maxGuest, inType: type.memory.maxGuest },
    { path: 'domain.resources.requests.memory', inVm: requests?.['memory'], inType: always },
    { path: 'domain.resources.limits.memory', inVm: limits?.['memory'], inType: always },
    { path: 'domain.devices.gpus', inVm: nonEmpty(domain.devices.gpus), inType: nonEmpty(type.gpus) },
    { path: 'domain.devices.hostDevices', inVm: nonEmpty(domain.devices.hostDevices), inType: nonEmpty(type.hostDevices) },
    { path: 'domain.ioThreadsPolicy', inVm: domain.ioThreadsPolicy, inType: type.ioThreadsPolicy },
    { path: 'domain.ioThreads', inVm: domain.ioThreads, inType: type.ioThreads },
    { path: 'domain.launchSecurity', inVm: domain.launchSecurity, inType: type.launchSecurity },
    { path: 'nodeSelector', inVm: spec.nodeSelector, inType: type.nodeSelector },
    { path: 'schedulerName', inVm: spec.schedulerName || undefined, inType: type.schedulerName },
  ];
}

const nonEmpty = <T>(list: readonly T[] | undefined): readonly T[] | undefined => (list?.length ? list : undefined);

/** Fields of the instance spec that the instance type governs too; a field is named once. */
export function instancetypeConflicts(
  spec: Spec,
  type: InstancetypeSpec,
  annotations: Readonly<Record<string, string>> = {},
): readonly string[] {
  const fields = [...cpuOverlaps(spec, type), ...otherOverlaps(spec, type)]
    .filter(({ inVm, inType }) => inVm !== undefined && inType !== undefined && inType !== false)
    .map(({ path }) => path);
  const clashing = Object.entries(type.annotations ?? {})
    .filter(([key, value]) => annotations[key] !== undefined && annotations[key] !== value)
    .map(([key]) => `annotations.${key}`);
  return [...fields, ...clashing];
}

function applyCpu(
  spec: Spec,
  { cpu: type }: InstancetypeSpec,
  preference: kubevirt.VirtualMachinePreferenceSpec | undefined,
): void {
  const cpu = (spec.domain.cpu ??= {});
  Object.assign(cpu, preferredTopology(type.guest, preference));
  if (type.model !== undefined) cpu.model = type.model;
  if (type.dedicatedCPUPlacement !== undefined) cpu.dedicatedCpuPlacement = type.dedicatedCPUPlacement;
  if (type.isolateEmulatorThread !== undefined) cpu.isolateEmulatorThread = type.isolateEmulatorThread;
  if (type.numa !== undefined) cpu.numa = structuredClone(type.numa);
  if (type.realtime !== undefined) cpu.realtime = structuredClone(type.realtime);
  if (type.maxSockets !== undefined) cpu.maxSockets ??= type.maxSockets;
}

function applyMemory(domain: kubevirt.DomainSpec, { memory: type }: InstancetypeSpec): void {
  const memory = (domain.memory ??= {});
  memory.guest = type.guest;
  if (type.hugepages !== undefined) memory.hugepages = structuredClone(type.hugepages);
  if (type.maxGuest !== undefined) memory.maxGuest = type.maxGuest;
  if (!type.overcommitPercent) return;
  const bytes = Math.floor((bytesOf(type.guest) * (100 - type.overcommitPercent)) / 100);
  domain.resources = { ...domain.resources, requests: { ...domain.resources?.requests, memory: binaryQuantity(bytes) } };
}

/** Copies the instance type into the instance. Returns the conflicting fields and changes nothing when there are any. */
export function applyInstancetype(
  vmi: VirtualMachineInstance,
  type: InstancetypeSpec,
  preference: kubevirt.VirtualMachinePreferenceSpec | undefined,
): readonly string[] {
  const { spec } = vmi;
  const conflicts = instancetypeConflicts(spec, type, vmi.metadata.annotations);
  if (conflicts.length > 0) return conflicts;
  applyCpu(spec, type, preference);
  applyMemory(spec.domain, type);
  const { devices } = spec.domain;
  if (nonEmpty(type.gpus)) devices.gpus = structuredClone(type.gpus ?? []);
  if (nonEmpty(type.hostDevices)) devices.hostDevices = structuredClone(type.hostDevices ?? []);
  if (type.ioThreadsPolicy !== undefined) spec.domain.ioThreadsPolicy = type.ioThreadsPolicy;
  if (type.ioThreads !== undefined) spec.domain.ioThreads = structuredClone(type.ioThreads);
  if (type.launchSecurity !== undefined) spec.domain.launchSecurity = structuredClone(type.launchSecurity);
  if (type.nodeSelector !== undefined) spec.nodeSelector = { ...type.nodeSelector };
  if (type.schedulerName !== undefined) spec.schedulerName = type.schedulerName;
  if (type.annotations !== undefined) vmi.metadata.annotations = { ...vmi.metadata.annotations, ...type.annotations };
  return [];
}
