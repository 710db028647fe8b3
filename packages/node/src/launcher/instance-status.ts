import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { VmiCondition, VmiPhase } from '@slipway/api';
import { deepEqual, formatTime } from '@slipway/apimachinery';
import {
  type ClusterConfig,
  type DomainPlan,
  liveMigrationObstacle,
  migrationMethod,
  type MigrationObstacle,
  storageMigrationObstacle,
} from '@slipway/virt';
import type { PodNetworkStatus } from '../contracts.ts';
import type { AgentProblem } from '../guest-agent/index.ts';
import type { GuestReport } from './guest-agent.ts';
import { unreadyText } from './pod-status.ts';

type Status = kubevirt.VirtualMachineInstanceStatus;
type Condition = kubevirt.VirtualMachineInstanceCondition;
type Interface = kubevirt.VirtualMachineInstanceNetworkInterface;

export interface ConditionText {
  readonly type: string;
  readonly status: 'True' | 'False';
  readonly reason?: string;
  readonly message?: string;
}

/** The conditions with one set; its time moves only with its status. */
export function withCondition(conditions: readonly Condition[] | undefined, text: ConditionText, nowMs: number): Condition[] {
  const list = [...(conditions ?? [])];
  const index = list.findIndex(({ type }) => type === text.type);
  const before = list[index];
  const isSame = before?.status === text.status && before.reason === text.reason && before.message === text.message;
  if (isSame) return list;
  const lastTransitionTime = before?.status === text.status ? (before.lastTransitionTime ?? null) : formatTime(nowMs);
  const next = { ...text, lastProbeTime: null, lastTransitionTime } as Condition; // null times are how KubeVirt writes them
  if (index < 0) list.push(next);
  else list[index] = next;
  return list;
}

export function withoutCondition(conditions: readonly Condition[] | undefined, type: string): Condition[] {
  return (conditions ?? []).filter((condition) => condition.type !== type);
}

function inPhase(vmi: VirtualMachineInstance, phase: string, nowMs: number): Status {
  const times = vmi.status?.phaseTransitionTimestamps ?? [];
  const entry = { phase, phaseTransitionTimestamp: formatTime(nowMs) };
  return {
    ...vmi.status,
    phase,
    phaseTransitionTimestamps: times.some((time) => time.phase === phase) ? times : [...times, entry],
  };
}

/** Whether the guest, and whether its disks, could move to another node, and why not. Pure. */
export function migratableConditions(vmi: VirtualMachineInstance, config: ClusterConfig): readonly ConditionText[] {
  const text = (type: string, obstacle: MigrationObstacle | undefined): ConditionText =>
    obstacle === undefined ? { type, status: 'True' } : { type, status: 'False', ...obstacle };
  return [
    text(VmiCondition.liveMigratable, liveMigrationObstacle(vmi, config)),
    text(VmiCondition.storageLiveMigratable, storageMigrationObstacle(vmi, config)),
  ];
}

/** The VMI of a guest that runs with what its devices say now of a move; the same object when that is nothing new. Pure. */
export function withMigratability(vmi: VirtualMachineInstance, config: ClusterConfig, nowMs: number): VirtualMachineInstance {
  const { status } = vmi;
  const isKnown = status?.conditions?.some(({ type }) => type === VmiCondition.liveMigratable);
  if (status?.phase !== VmiPhase.running || !isKnown) return vmi;
  let conditions = status.conditions ?? [];
  for (const text of migratableConditions(vmi, config)) conditions = withCondition(conditions, text, nowMs);
  const method = migrationMethod(vmi);
  if (method === status.migrationMethod && deepEqual(conditions, status.conditions)) return vmi;
  return { ...vmi, status: { ...status, conditions, migrationMethod: method } };
}

function planConditions(plan: DomainPlan, kvmReason: string): ConditionText[] {
  const byReason = new Map<string, string[]>();
  for (const { reason, message } of plan.notes) byReason.set(reason, [...(byReason.get(reason) ?? []), message]);
  return [...byReason].map(([type, messages]): ConditionText => {
    const why = type === 'SoftwareEmulation' && kvmReason !== '' ? [`${messages.join('; ')}: ${kvmReason}`] : messages;
    return { type, status: 'True', reason: type === 'SoftwareEmulation' ? 'KVMUnusable' : type, message: why.join('; ') };
  });
}

function interfacesOf(network: PodNetworkStatus): Interface[] {
  return network.interfaces.map(({ name, mac, ipAddresses, podInterfaceName, infoSources, queues }) => ({
    name,
    mac,
    podInterfaceName,
    queueCount: queues,
    linkState: 'up',
    infoSource: infoSources.join(', '),
    ...(ipAddresses[0] !== undefined && { ipAddress: ipAddresses[0], ipAddresses: [...ipAddresses] }),
  }));
}

export interface RunningInputs {
  readonly plan: DomainPlan;
  readonly network: PodNetworkStatus;
  readonly config: ClusterConfig;
  /** The machine type that the plan's name stands for on this host. */
  readonly machineType: string;
  /** Limits of the pod that this host cannot enforce. */
  readonly missingLimits: readonly string[];
  readonly kvmReason: string;
  /** What a readiness probe says; true without one. */
  readonly isProbedReady: boolean;
  readonly nowMs: number;
}

function limitConditions(missing: readonly string[]): ConditionText[] {
  if (missing.length === 0) return [];
  const message = `The guest runs without limits that this host's control groups do not offer: ${missing.join(', ')}`;
  return [{ type: 'ResourceLimitsNotEnforced', status: 'True', reason: 'ControlGroupsMissing', message }];
}

/** The VMI once its guest runs. Pure. */
export function runningInstance(
  vmi: VirtualMachineInstance,
  { plan, network, config, machineType, missingLimits, kvmReason, isProbedReady, nowMs }: RunningInputs,
): VirtualMachineInstance {
  const targets = new Map(plan.disks.map(({ name, targetDev }) => [name, targetDev]));
  const { sockets = 1, cores = 1, threads = 1 } = vmi.spec.domain.cpu ?? {};
  const memory = vmi.spec.domain.memory?.guest ?? vmi.spec.domain.resources?.requests?.['memory'];
  let conditions = withoutCondition(vmi.status?.conditions, VmiCondition.synchronized);
  // the launcher pod has been ready since the hand-over; said here, Ready costs no update of its own
  const unready = { type: VmiCondition.ready, status: 'False', ...unreadyText('compute') } as const;
  const ready: ConditionText = isProbedReady ? { type: VmiCondition.ready, status: 'True' } : unready;
  for (const text of [
    ready,
    ...migratableConditions(vmi, config),
    ...planConditions(plan, kvmReason),
    ...limitConditions(missingLimits),
  ])
    conditions = withCondition(conditions, text, nowMs);
  return {
    ...vmi,
    status: {
      ...inPhase(vmi, VmiPhase.running, nowMs),
      conditions,
      interfaces: interfacesOf(network),
      machine: { type: machineType },
      currentCPUTopology: { sockets, cores, threads },
      ...(memory !== undefined && { memory: { guestAtBoot: memory, guestCurrent: memory, guestRequested: memory } }),
      volumeStatus: (vmi.status?.volumeStatus ?? []).map((volume) => ({
        ...volume,
        target: targets.get(volume.name) ?? volume.target,
      })),
      selinuxContext: 'none',
      migrationMethod: migrationMethod(vmi),
    },
  };
}

/** The VMI after its guest has ended. Pure. */
export function endedInstance(
  vmi: VirtualMachineInstance,
  phase: 'Succeeded' | 'Failed',
  nowMs: number,
  reason?: string,
): VirtualMachineInstance {
  const gone: string[] = [VmiCondition.agentConnected, VmiCondition.agentMisbehaving, VmiCondition.paused];
  const conditions = (vmi.status?.conditions ?? []).filter(({ type }) => !gone.includes(type));
  const { fsFreezeStatus: _, ...status } = inPhase(vmi, phase, nowMs);
  return { ...vmi, status: { ...status, ...(reason !== undefined && { reason }), conditions } };
}

/** The VMI with what the guest agent reports. Pure; the same object when nothing is new. */
export function reportedInstance(
  vmi: VirtualMachineInstance,
  report: GuestReport | undefined,
  nowMs: number,
): VirtualMachineInstance {
  const { agentConnected } = VmiCondition;
  const { status } = vmi;
  if (report === undefined) {
    if (!status?.conditions?.some(({ type }) => type === agentConnected)) return vmi;
    return { ...vmi, status: { ...status, conditions: withoutCondition(status.conditions, agentConnected) } };
  }
  const interfaces = mergeInterfaces(status?.interfaces ?? [], report);
  const conditions = withCondition(status?.conditions, { type: agentConnected, status: 'True' }, nowMs);
  const next: VirtualMachineInstance = { ...vmi, status: { ...status, conditions, interfaces, guestOSInfo: report.os } };
  return JSON.stringify(next) === JSON.stringify(vmi) ? vmi : next;
}

/** The VMI with what is wrong with its agent's answers. Pure; the same object when that is nothing new. */
export function misbehavingInstance(
  vmi: VirtualMachineInstance,
  problem: AgentProblem | undefined,
  nowMs: number,
): VirtualMachineInstance {
  const type = VmiCondition.agentMisbehaving;
  const before = vmi.status?.conditions?.find((condition) => condition.type === type);
  if (before?.reason === problem?.reason && before?.message === problem?.message) return vmi;
  const conditions =
    problem === undefined
      ? withoutCondition(vmi.status?.conditions, type)
      : withCondition(vmi.status?.conditions, { type, status: 'True', ...problem }, nowMs);
  return { ...vmi, status: { ...vmi.status, conditions } };
}

function mergeInterfaces(known: readonly Interface[], { interfaces }: GuestReport): Interface[] {
  const byMac = new Map(interfaces.map((entry) => [entry.mac, entry]));
  const merged = known.map((entry): Interface => {
    const seen = byMac.get(entry.mac?.toLowerCase() ?? '');
    if (seen === undefined) return entry;
    byMac.delete(seen.mac);
    // with masquerade the pod's addresses count, not the ones behind the translation
    const hasOwn = (entry.ipAddresses ?? []).length > 0 && !(entry.infoSource ?? '').includes('guest-agent');
    const ipAddresses = hasOwn ? (entry.ipAddresses ?? []) : [...seen.ipAddresses];
    const sources = new Set([...(entry.infoSource ?? '').split(', ').filter((source) => source !== ''), 'guest-agent']);
    // an entry whose addresses are the pod's does not name the agent, so that the next report leaves them alone
    if (hasOwn) return { ...entry, interfaceName: seen.name };
    return {
      ...entry,
      interfaceName: seen.name,
      infoSource: [...sources].join(', '),
      ...(ipAddresses[0] !== undefined && { ipAddress: ipAddresses[0], ipAddresses }),
    };
  });
  return merged;
}

/** The VMI paused or not. Pure; the same object when it says so already. */
export function pausedInstance(vmi: VirtualMachineInstance, reason: string | undefined, nowMs: number): VirtualMachineInstance {
  const { paused } = VmiCondition;
  const current = vmi.status?.conditions?.find(({ type }) => type === paused);
  if (reason === undefined)
    return current === undefined
      ? vmi
      : { ...vmi, status: { ...vmi.status, conditions: withoutCondition(vmi.status?.conditions, paused) } };
  if (current?.status === 'True' && current.reason === reason) return vmi;
  const message = reason === 'PausedByUser' ? 'VMI was paused by user' : 'VMI was paused, low-level IO error detected';
  const text: ConditionText = { type: paused, status: 'True', reason, message };
  return { ...vmi, status: { ...vmi.status, conditions: withCondition(vmi.status?.conditions, text, nowMs) } };
}

/** The VMI with the reason why its guest does not start. Pure. */
export function unsynchronizedInstance(vmi: VirtualMachineInstance, message: string, nowMs: number): VirtualMachineInstance {
  const reason = 'Synchronizing with the Domain failed.';
  const text: ConditionText = { type: VmiCondition.synchronized, status: 'False', reason, message };
  return { ...vmi, status: { ...vmi.status, conditions: withCondition(vmi.status?.conditions, text, nowMs) } };
}
