import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { VmiCondition } from '@slipway/api';
import { binaryQuantity, bytesOf, cpuTopology, memoryHotplugObstacle, milliOf, vcpuCount } from '@slipway/virt';
import { conditionOf } from '../virtual-machine-instance/instance-state.ts';
import { type ChangeFailure, migrationObstacle } from './migration-obstacle.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;
type DomainPatch = Pick<Partial<Spec['domain']>, 'cpu' | 'memory' | 'resources'>;

/** Sockets and memory of a running instance as its template asks: what to change, or why that needs a restart. */
export interface SizeChange {
  /** Merge patch of `spec.domain`. */
  readonly domain: DomainPatch | undefined;
  readonly restartReason: string | undefined;
  /** Why it has to wait; it is tried again. */
  readonly failure: ChangeFailure | undefined;
}

const NONE: SizeChange = { domain: undefined, restartReason: undefined, failure: undefined };
const restart = (restartReason: string): SizeChange => ({ ...NONE, restartReason });

/** Fields that come by an instance type are compared with that, not here. */
export function liveSizes(template: Spec, vmi: VirtualMachineInstance, cpuAllocationRatio: number): SizeChange {
  const changes = [liveSockets(template, vmi, cpuAllocationRatio), liveMemory(template, vmi)];
  const reasons = changes.flatMap(({ restartReason }) => restartReason ?? []);
  const domains = changes.flatMap(({ domain }) => domain ?? []);
  return {
    restartReason: reasons[0],
    failure: changes.find(({ failure }) => failure !== undefined)?.failure,
    domain: domains.length === 0 ? undefined : Object.assign({}, ...domains, { resources: mergedResources(domains) }),
  };
}

function mergedResources(domains: readonly DomainPatch[]): DomainPatch['resources'] {
  const list = (field: 'requests' | 'limits') => Object.assign({}, ...domains.map(({ resources }) => resources?.[field]));
  return { requests: list('requests'), limits: list('limits') };
}

function liveSockets(template: Spec, vmi: VirtualMachineInstance, cpuAllocationRatio: number): SizeChange {
  const { spec } = vmi;
  const wanted = template.domain.cpu?.sockets;
  const { cpu } = spec.domain;
  const before = cpuTopology(spec.domain);
  if (!wanted || cpu === undefined || wanted === before.sockets) return NONE;
  if (spec.architecture === 'arm64') return restart("ARM doesn't support CPU hotplug");
  if (wanted > (cpu.maxSockets ?? before.sockets))
    return restart("CPU sockets updated in template spec to a value higher than what's available");
  if (wanted < before.sockets) return restart('Reduction of CPU socket count requires a restart');
  const failure = busyWith(vmi, 'CPU', VmiCondition.hotVcpuChange);
  if (failure !== undefined) return { ...NONE, failure: { reason: 'HotPlugCPUError', message: failure } };
  const added = vcpuCount({ ...before, sockets: wanted }) - vcpuCount(before);
  const more = (list: Record<string, string | number> | undefined, perCpu: number) =>
    list?.['cpu'] === undefined ? undefined : { cpu: `${Number(milliOf(list['cpu'])) + added * perCpu}m` };
  const { requests, limits } = spec.domain.resources ?? {};
  const grownRequests = more(requests, Math.round(1000 / cpuAllocationRatio));
  const grownLimits = more(limits, 1000);
  return {
    ...NONE,
    domain: {
      cpu: { sockets: wanted },
      resources: { ...(grownRequests && { requests: grownRequests }), ...(grownLimits && { limits: grownLimits }) },
    },
  };
}

const MEMORY = 'memory updated in template spec.';

function liveMemory(template: Spec, vmi: VirtualMachineInstance): SizeChange {
  const wanted = template.domain.memory?.guest;
  const { memory, resources } = vmi.spec.domain;
  if (wanted === undefined || memory?.guest === undefined) return NONE;
  const addedBytes = bytesOf(wanted) - bytesOf(memory.guest);
  if (addedBytes === 0) return NONE;
  const obstacle = memoryObstacle(vmi, wanted);
  if (obstacle !== undefined) return restart(`${MEMORY} ${obstacle}`);
  const failure = busyWith(vmi, 'Memory', VmiCondition.hotMemoryChange);
  if (failure !== undefined) return { ...NONE, failure: { reason: 'HotPlugMemoryError', message: failure } };
  const grown = (list: Record<string, string | number> | undefined) =>
    list?.['memory'] === undefined ? undefined : { memory: String(bytesOf(list['memory']) + addedBytes) };
  const requests = grown(resources?.requests);
  const limits = grown(resources?.limits);
  return {
    ...NONE,
    domain: { memory: { guest: wanted }, resources: { ...(requests && { requests }), ...(limits && { limits }) } },
  };
}

/** Why a size cannot change at this moment. */
function busyWith(vmi: VirtualMachineInstance, what: 'CPU' | 'Memory', condition: string): string | undefined {
  if (conditionOf(vmi, condition)?.status === 'True') return `another ${what} hotplug is in progress`;
  return migrationObstacle(vmi, `${what} hotplug`);
}

/** Why this guest cannot have that much memory while it runs. */
function memoryObstacle(vmi: VirtualMachineInstance, wanted: string | number): string | undefined {
  const { memory } = vmi.spec.domain;
  if (memory?.maxGuest === undefined) return 'Memory-hotplug is not available for this VM configuration';
  if (conditionOf(vmi, VmiCondition.hotMemoryChange)?.status === 'False')
    return 'Memory-hotplug failed and is not available for this VM configuration';
  const atBoot = vmi.status?.memory?.guestAtBoot;
  if (atBoot !== undefined && bytesOf(wanted) < bytesOf(atBoot))
    return `The new guest memory is less than the guest booted with, ${binaryQuantity(bytesOf(atBoot))}`;
  const asked: Spec = { ...vmi.spec, domain: { ...vmi.spec.domain, memory: { ...memory, guest: wanted } } };
  return memoryHotplugObstacle(asked, memory.maxGuest);
}

/** A template without the sizes that can change while the guest runs. */
export function withoutLiveSizes(spec: Spec): Spec {
  const { cpu, memory } = spec.domain;
  const { sockets: _sockets, ...otherCpu } = cpu ?? {};
  const { guest: _guest, ...otherMemory } = memory ?? {};
  return { ...spec, domain: { ...spec.domain, cpu: otherCpu, memory: otherMemory } };
}
