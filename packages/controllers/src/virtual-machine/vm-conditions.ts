import type { kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { Reason, VmCondition } from '@slipway/api';
import { conditionOf, transition } from '../virtual-machine-instance/instance-state.ts';

type VmCond = kubevirt.VirtualMachineCondition;

/** Owned by the VM controller; everything else is a copy of the instance's conditions. */
const OWN: readonly string[] = [
  VmCondition.ready,
  VmCondition.failure,
  VmCondition.restartRequired,
  VmCondition.manualRecoveryRequired,
  VmCondition.suspended,
  VmCondition.volumesChange,
];

export interface SyncFailure {
  readonly reason: string;
  readonly message: string;
}

export interface VmConditionsInput {
  readonly vm: VirtualMachine;
  readonly vmi: VirtualMachineInstance | undefined;
  /** Set while the last pass went wrong. */
  readonly failure: SyncFailure | undefined;
  /** Why the running instance differs from the template; undefined: it does not. */
  readonly restartReason: string | undefined;
  /** RFC 3339. */
  readonly now: string;
}

function readyCondition(vmi: VirtualMachineInstance | undefined): VmCond {
  if (vmi === undefined)
    return { type: VmCondition.ready, status: 'False', reason: Reason.vmiNotExists, message: 'VMI does not exist' };
  const ready = conditionOf(vmi, VmCondition.ready);
  if (ready === undefined)
    return {
      type: VmCondition.ready,
      status: 'False',
      reason: Reason.vmiConditionMissing,
      message: 'VMI is missing the Ready condition',
    };
  const { type, status, reason, message } = ready;
  return { type, status, ...(reason !== undefined && { reason }), ...(message !== undefined && { message }) };
}

/** `status.conditions` of a VM. Copied conditions stay after the instance is gone, and go when a new one lacks them. */
export function vmConditions({ vm, vmi, failure, restartReason, now }: VmConditionsInput): VmCond[] {
  const previous = (type: string): VmCond | undefined => conditionOf(vm, type);
  const own: VmCond[] = [transition(previous(VmCondition.ready), readyCondition(vmi), now)];
  if (failure !== undefined)
    own.push(transition(previous(VmCondition.failure), { type: VmCondition.failure, status: 'True', ...failure }, now));
  if (restartReason !== undefined && vmi !== undefined)
    own.push(
      transition(
        previous(VmCondition.restartRequired),
        { type: VmCondition.restartRequired, status: 'True', reason: VmCondition.restartRequired, message: restartReason },
        now,
      ),
    );
  const recovery = previous(VmCondition.manualRecoveryRequired);
  if (recovery !== undefined) own.push(recovery);
  const suspended = previous(VmCondition.suspended);
  if (suspended !== undefined) own.push(suspended);
  const moved = previous(VmCondition.volumesChange);
  if (moved !== undefined) own.push(moved);

  const copied =
    vmi === undefined
      ? (vm.status?.conditions ?? []).filter(({ type }) => !OWN.includes(type))
      : (vmi.status?.conditions ?? []).filter(({ type }) => !OWN.includes(type)).map((condition) => ({ ...condition }));
  return [...own, ...copied];
}
