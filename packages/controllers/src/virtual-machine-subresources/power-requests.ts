import type { kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { VmCondition, VmiPhase } from '@slipway/api';
import { badRequest, type StatusError } from '@slipway/apimachinery';
import { hasCondition, isFinal } from '../virtual-machine-instance/instance-state.ts';
import { powerField, runStrategyOf } from '../virtual-machine/run-strategy.ts';
import { vmConflict } from './errors.ts';

type Request = kubevirt.VirtualMachineStateChangeRequest;

/** What a start, stop or restart call changes; exactly one of `spec` and `requests` is set. */
export interface PowerChange {
  readonly spec?: { readonly path: string; readonly from: unknown; readonly to: unknown };
  readonly requests?: readonly Request[];
  /** New termination grace period of the running instance, set before anything else. */
  readonly gracePeriodSeconds?: number;
}

/** Phases of an instance that block a start. */
const LIVE: readonly string[] = [
  VmiPhase.pending,
  VmiPhase.scheduling,
  VmiPhase.scheduled,
  VmiPhase.running,
  VmiPhase.waitingForSync,
];

const blocksStart = (vmi: VirtualMachineInstance | undefined): boolean => LIVE.includes(vmi?.status?.phase ?? '');
const nameOf = (vm: VirtualMachine): string => vm.metadata.name ?? '';
const isLive = (vmi: VirtualMachineInstance | undefined): vmi is VirtualMachineInstance => vmi !== undefined && !isFinal(vmi);
const stopRequest = (vmi: VirtualMachineInstance): Request => ({
  action: 'Stop',
  ...(vmi.metadata.uid !== undefined && { uid: vmi.metadata.uid }),
});

/** Decides a start call. Throws the refusal. */
export function planStart(vm: VirtualMachine, vmi: VirtualMachineInstance | undefined, paused: boolean): PowerChange {
  const refuse = (message: string): StatusError => vmConflict(nameOf(vm), message);
  if (blocksStart(vmi)) throw refuse('VM is already running');
  if (hasCondition(vm, VmCondition.manualRecoveryRequired)) throw refuse('VM needs manual recovery before it can be started');
  const runStrategy = runStrategyOf(vm);
  const start: Request = { action: 'Start', ...(paused && { data: { paused: 'true' } }) };
  if (runStrategy === 'Halted') return paused ? queue(vm, [start]) : { spec: powerField(vm, true) };
  if (runStrategy !== 'RerunOnFailure' && runStrategy !== 'Manual')
    throw refuse(`${runStrategy} does not support manual start requests`);
  if (runStrategy === 'RerunOnFailure' && vmi?.status?.phase === VmiPhase.failed)
    throw refuse('RerunOnFailure does not support starting VM from failed state');
  return queue(vm, vmi === undefined ? [start] : [stopRequest(vmi), start]);
}

/** Decides a stop call. Throws the refusal. */
export function planStop(
  vm: VirtualMachine,
  vmi: VirtualMachineInstance | undefined,
  gracePeriod: number | undefined,
): PowerChange {
  const refuse = (message: string): StatusError => vmConflict(nameOf(vm), message);
  const grace = gracePeriod !== undefined && isLive(vmi) ? { gracePeriodSeconds: gracePeriod } : {};
  const runStrategy = runStrategyOf(vm);
  switch (runStrategy) {
    case 'Halted': {
      if (!isLive(vmi)) throw refuse('VM is not running');
      const current = vmi.spec.terminationGracePeriodSeconds;
      if (gracePeriod === undefined || (current !== undefined && gracePeriod >= current))
        throw refuse('Halted only supports manual stop requests with a shorter graceperiod');
      return grace;
    }
    case 'Manual':
    case 'RerunOnFailure':
      if (!isLive(vmi)) throw refuse('VM is not running');
      return { ...queue(vm, [stopRequest(vmi)]), ...grace };
    default:
      return { spec: powerField(vm, false), ...grace };
  }
}

/** Decides a restart call. Throws the refusal. */
export function planRestart(
  vm: VirtualMachine,
  vmi: VirtualMachineInstance | undefined,
  gracePeriodSeconds: number | undefined,
): PowerChange {
  if (gracePeriodSeconds !== undefined && gracePeriodSeconds > 0)
    throw badRequest('For force restart, only gracePeriod=0 is supported for now');
  if (gracePeriodSeconds !== undefined && gracePeriodSeconds < 0) throw badRequest('gracePeriod has to be greater or equal to 0');
  const refuse = (message: string): StatusError => vmConflict(nameOf(vm), message);
  const runStrategy = runStrategyOf(vm);
  if (runStrategy === 'Halted' || runStrategy === 'Once')
    throw refuse(`RunStategy ${runStrategy} does not support manual restart requests`);
  if (hasCondition(vmi, 'VolumesChange')) throw refuse('VM recovery required: a volume change is in progress');
  if (vmi === undefined) throw refuse('VM is not running: Halted');
  return {
    ...queue(vm, [stopRequest(vmi), { action: 'Start' }]),
    // one second instead of none: the guest's last writes still reach the disk
    ...(gracePeriodSeconds === 0 && isLive(vmi) && { gracePeriodSeconds: 1 }),
  };
}

/** A single Stop replaces what is queued; anything else must find the queue empty. */
function queue(vm: VirtualMachine, requests: readonly Request[]): PowerChange {
  const queued = vm.status?.stateChangeRequests ?? [];
  const isStop = requests.length === 1 && requests[0]?.action === 'Stop';
  if (queued.length > 0 && !isStop) throw vmConflict(nameOf(vm), 'unable to complete request: stop/start already underway');
  return { requests };
}
