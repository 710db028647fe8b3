import type { kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { Annotation, VmCondition } from '@slipway/api';
import { hasCondition } from '../virtual-machine-instance/instance-state.ts';
import { type PrintableStatusInput, printableStatusOf } from './printable-status.ts';
import { runStrategyOf } from './run-strategy.ts';
import { type SyncFailure, vmConditions } from './vm-conditions.ts';

type Status = kubevirt.VirtualMachineStatus;

export interface VmStatusInput extends Omit<PrintableStatusInput, 'vm'> {
  readonly vm: VirtualMachine;
  readonly vmi: VirtualMachineInstance | undefined;
  readonly requests: readonly kubevirt.VirtualMachineStateChangeRequest[];
  readonly startFailure: kubevirt.VirtualMachineStartFailure | undefined;
  readonly failure: SyncFailure | undefined;
  readonly restartReason: string | undefined;
  /** The VM shall start as soon as its disks are there. */
  readonly isHeldBack?: boolean;
  /** RFC 3339. */
  readonly now: string;
}

const OWNED = [
  'created',
  'ready',
  'stateChangeRequests',
  'startFailure',
  'observedGeneration',
  'desiredGeneration',
] as const satisfies readonly (keyof Status)[];

/** The whole new status; fields that other parts own (snapshots, memory dump, instance types …) are carried over. */
export function vmStatus(input: VmStatusInput): Status {
  const { vm, vmi, requests, startFailure } = input;
  const carried: Status = { ...vm.status };
  for (const field of OWNED) delete carried[field];
  const updated: VirtualMachine = {
    ...vm,
    status: { ...carried, ...(startFailure && { startFailure }), stateChangeRequests: [...requests] },
  };
  const desired = vm.metadata.generation;
  const observed = observedGeneration(vm, vmi);
  // a run strategy counts as followed when its first start was made, not while that waits for disks
  const runStrategy = input.isHeldBack ? vm.status?.runStrategy : runStrategyOf(vm);
  return {
    ...carried,
    conditions: vmConditions(input),
    ...(vmi !== undefined && { created: true }),
    ...(hasCondition(vmi, VmCondition.ready) && { ready: true }),
    printableStatus: printableStatusOf({ ...input, vm: updated }),
    ...(runStrategy !== undefined && { runStrategy }),
    ...(requests.length > 0 && { stateChangeRequests: [...requests] }),
    ...(startFailure && { startFailure }),
    ...(desired !== undefined && { desiredGeneration: desired }),
    ...(observed !== undefined && { observedGeneration: observed }),
  };
}

/** Generation of the VM from which the instance was made; the last known one while there is no instance. */
function observedGeneration(vm: VirtualMachine, vmi: VirtualMachineInstance | undefined): number | undefined {
  const recorded = vmi?.metadata.annotations?.[Annotation.vmGeneration];
  return recorded === undefined ? vm.status?.observedGeneration : Number(recorded);
}
