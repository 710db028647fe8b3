import { parseTime } from '@slipway/apimachinery';
import type { Node, Pod, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { VmCondition, VmiCondition } from '@slipway/api';
import type { SchedulingFacts } from '../scheduler/explain-scheduling.ts';
import { SCHEDULER_NAME } from '../scheduler/scheduler-reconciler.ts';
import { conditionOf } from '../virtual-machine-instance/instance-state.ts';
import { imageProblem } from '../virtual-machine-instance/launcher-pod-state.ts';
import type { Cause } from './explain-why.ts';
import { nodeStatusText } from './node-verdicts.ts';

/** What the VM says of itself: failures, and the back-off after starts that failed. */
export function machineCauses(vm: VirtualMachine, nowMs: number): readonly Cause[] {
  const about = `VirtualMachine ${vm.metadata.name}`;
  const failures = [VmCondition.failure, VmCondition.manualRecoveryRequired].flatMap((type): Cause[] => {
    const condition = conditionOf(vm, type);
    if (condition?.status !== 'True') return [];
    return [{ about, reason: condition.reason ?? type, message: condition.message ?? type }];
  });
  return [...failures, ...backOffCause(vm, about, nowMs)];
}

function backOffCause({ status }: VirtualMachine, about: string, nowMs: number): readonly Cause[] {
  const { consecutiveFailCount = 0, retryAfterTimestamp } = status?.startFailure ?? {};
  if (consecutiveFailCount === 0) return [];
  const leftMs = (parseTime(retryAfterTimestamp) ?? 0) - nowMs;
  const next = leftMs > 0 ? `the next try is in ${Math.ceil(leftMs / 1000)}s` : 'the next try is due';
  return [{ about, reason: 'CrashLoopBackOff', message: `it has failed to start ${consecutiveFailCount} time(s); ${next}` }];
}

/** What the instance's conditions say. */
export function instanceCauses({ metadata, status }: VirtualMachineInstance): readonly Cause[] {
  const about = `VirtualMachineInstance ${metadata.name}`;
  const stopping = { about, reason: 'Terminating', message: 'it is being stopped; a new instance can only follow it' };
  const waits = (status?.conditions ?? []).filter(
    (condition) =>
      condition.status === 'False' &&
      (condition.type === VmiCondition.synchronized || condition.type === VmiCondition.dataVolumesReady),
  );
  return [
    ...(metadata.deletionTimestamp === undefined ? [] : [stopping]),
    ...waits.map(({ type, reason, message }) => ({ about, reason: reason ?? type, message: message ?? type })),
  ];
}

/** Why a pod has no node (`message`, when it has been judged just now), or does not get further on its node. */
export function podCauses(pod: Pod, scheduling: SchedulingFacts | undefined, message: string): readonly Cause[] {
  const about = `Pod ${pod.metadata.name}`;
  const nodeName = pod.spec?.nodeName;
  if (!nodeName) return placeCauses(pod, about, message);
  const problem = imageProblem(pod);
  const node = scheduling?.nodes.find(({ metadata }) => metadata.name === nodeName);
  return [...(problem ? [{ about, ...problem }] : []), ...(scheduling ? nodeCauses(node, nodeName) : [])];
}

function placeCauses({ spec, status }: Pod, about: string, message: string): readonly Cause[] {
  const gates = (spec?.schedulingGates ?? []).map(({ name }) => name);
  if (gates.length > 0) return [{ about, reason: 'SchedulingGated', message: `scheduling gates: ${gates.join(', ')}` }];
  const scheduler = spec?.schedulerName ?? SCHEDULER_NAME;
  if (scheduler !== SCHEDULER_NAME)
    return [{ about, reason: 'Pending', message: `it waits for the scheduler ${scheduler}, which is not part of this platform` }];
  const said = status?.conditions?.find(({ type }) => type === 'PodScheduled');
  const text = message || said?.message;
  return text ? [{ about, reason: said?.reason ?? 'Unschedulable', message: text }] : [];
}

function nodeCauses(node: Node | undefined, name: string): readonly Cause[] {
  const about = `Node ${name}`;
  const unheard = 'no agent has said anything of this node; look at `slipway status`';
  if (node === undefined) return [{ about, reason: 'NotFound', message: unheard }];
  const ready = node.status?.conditions?.find(({ type }) => type === 'Ready');
  if (ready?.status === 'True') return [];
  return [{ about, reason: nodeStatusText(node), message: ready?.message ?? unheard }];
}
