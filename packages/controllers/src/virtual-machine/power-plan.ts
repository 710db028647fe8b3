import type { kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { Annotation, VmCondition, VmiPhase } from '@slipway/api';
import { hasCondition, isDeleting, isFinal } from '../virtual-machine-instance/instance-state.ts';
import { suspendWish } from '../vm-suspend/memory-state.ts';
import { powerField, type RunStrategy, runStrategyOf } from './run-strategy.ts';
import { startBackoffMs } from './start-failure.ts';
import { hasStopRequest, pendingRequests, startRequest } from './state-change-requests.ts';

type Request = kubevirt.VirtualMachineStateChangeRequest;

/** What the VM controller does next about the instance of one VM. */
export type PowerAction =
  | { readonly action: 'none' }
  | { readonly action: 'start'; readonly paused: boolean; readonly asReceiver: boolean }
  | { readonly action: 'stop' }
  /** A start is due, but not before this many milliseconds have passed. */
  | { readonly action: 'wait'; readonly retryInMs: number }
  /** The author's power field itself must change (a paused start of a halted VM, the end of a migration). */
  | { readonly action: 'patchSpec'; readonly path: string; readonly from: unknown; readonly to: unknown }
  | { readonly action: 'refuse'; readonly message: string };

export interface PowerPlan {
  readonly power: PowerAction;
  /** The queue as it shall be stored afterwards. */
  readonly requests: readonly Request[];
}

interface PowerInput {
  readonly vm: VirtualMachine;
  readonly vmi: VirtualMachineInstance | undefined;
  readonly requests: readonly Request[];
  readonly nowMs: number;
}

const NONE: PowerAction = { action: 'none' };
const STOP: PowerAction = { action: 'stop' };

/**
 * Decides from the VM, its instance (undefined: none) and the time what to do next. `vm.status.startFailure` must be
 * up to date. Pure: the reconciler performs the action.
 */
export function planPower(vm: VirtualMachine, vmi: VirtualMachineInstance | undefined, nowMs: number): PowerPlan {
  const runStrategy = runStrategyOf(vm);
  const pending = pendingRequests(vm.status?.stateChangeRequests ?? [], vmi);
  const requests = runStrategy === 'Halted' ? pending.filter(isPausedStart) : pending;
  const input = { vm, vmi, requests, nowMs };
  const { power, enqueueStart = false } = STRATEGIES[runStrategy](input);
  return { power, requests: enqueueStart ? [...requests, { action: 'Start' }] : requests };
}

/** The one request that a halted VM obeys: a restart from before it was halted must not run it again. */
const isPausedStart = ({ action, data }: Request): boolean => action === 'Start' && data?.['paused'] === 'true';

interface Decision {
  readonly power: PowerAction;
  readonly enqueueStart?: boolean;
}

const STRATEGIES: Record<RunStrategy, (input: PowerInput) => Decision> = {
  Always: (input) => {
    const { vmi, requests } = input;
    if (vmi === undefined) return { power: start(input) };
    if (isDeleting(vmi)) return { power: NONE };
    return { power: isFinal(vmi) || hasStopRequest(requests, vmi) ? STOP : NONE };
  },

  RerunOnFailure: (input) => {
    const { vm, vmi, requests } = input;
    if (vmi === undefined) {
      const strategyIsNew = vm.status?.runStrategy !== 'RerunOnFailure';
      return { power: strategyIsNew || startRequest(requests) !== undefined ? start(input) : NONE };
    }
    const isWanted = !hasStopRequest(requests, vmi);
    const mustGo = !isDeleting(vmi) && (isFinal(vmi) || !isWanted);
    // the wish to run again is stored before the instance, which is the only sign of the failure, is deleted
    if (mustGo && isWanted && vmi.status?.phase === VmiPhase.failed && startRequest(requests) === undefined)
      return { power: NONE, enqueueStart: true };
    return { power: mustGo ? STOP : NONE };
  },

  Manual: (input) => {
    const { vmi, requests } = input;
    if (vmi === undefined) return { power: startRequest(requests) === undefined ? NONE : start(input) };
    return { power: !isDeleting(vmi) && hasStopRequest(requests, vmi) ? STOP : NONE };
  },

  Halted: ({ vm, vmi, requests }) => {
    // KubeVirt-compat: a paused start of a halted VM is queued as a request, and the controller then turns the VM on.
    if (startRequest(requests) !== undefined && (vmi === undefined || isFinal(vmi)))
      return { power: { action: 'patchSpec', ...powerField(vm, true) } };
    return { power: vmi !== undefined && !isDeleting(vmi) ? STOP : NONE };
  },

  Once: (input) => ({ power: input.vmi === undefined ? start(input) : NONE }),

  WaitAsReceiver: (input) => {
    const { vm, vmi } = input;
    if (vmi === undefined) return { power: start(input, true) };
    if (vmi.metadata.annotations?.[Annotation.createMigrationTarget] !== 'true')
      return { power: { action: 'refuse', message: 'Found non receiver VMI while VM is receiver' } };
    const restored = vm.metadata.annotations?.[Annotation.restoreRunStrategy];
    const hasArrived = vmi.status?.migrationState?.completed === true && vmi.status.phase === VmiPhase.running;
    if (!hasArrived || restored === undefined) return { power: NONE };
    return { power: { action: 'patchSpec', path: '/spec/runStrategy', from: vm.spec.runStrategy, to: restored } };
  },
};

function start({ vm, requests, nowMs }: PowerInput, asReceiver = false): PowerAction {
  if (hasCondition(vm, VmCondition.manualRecoveryRequired) || suspendWish(vm) !== undefined) return NONE;
  const retryInMs = startBackoffMs(vm.status?.startFailure, nowMs);
  if (retryInMs > 0) return { action: 'wait', retryInMs };
  return { action: 'start', paused: startRequest(requests)?.data?.['paused'] === 'true', asReceiver };
}

/** "Set to start" of the WaitingForVolumeBinding status. */
export function isSetToStart(vm: VirtualMachine, vmi: VirtualMachineInstance | undefined): boolean {
  const requests = vm.status?.stateChangeRequests ?? [];
  switch (runStrategyOf(vm)) {
    case 'Always':
      return true;
    case 'Manual':
      return vmi === undefined ? startRequest(requests) !== undefined : !hasStopRequest(requests, vmi);
    case 'RerunOnFailure':
      return vmi === undefined
        ? startRequest(requests) !== undefined || vm.status?.runStrategy !== 'RerunOnFailure'
        : vmi.status?.phase !== VmiPhase.succeeded || startRequest(requests) !== undefined;
    case 'Once':
    case 'WaitAsReceiver':
      return vmi === undefined;
    default:
      return false;
  }
}
