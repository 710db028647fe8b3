import type { kubevirt, Pod, VirtualMachineInstance, VirtualMachineInstanceMigration } from '@slipway/api';
import { VmiCondition, VmiPhase } from '@slipway/api';
import { formatTime } from '@slipway/apimachinery';
import { conditionOf, isDeleting, isFinal } from '../virtual-machine-instance/instance-state.ts';
import { canTakeGuest, hasEnded, isGoingDown, podCondition } from '../virtual-machine-instance/launcher-pod-state.ts';
import { isFinalMigration, isHandedOff, MigrationPhase } from './migration-state.ts';

type State = kubevirt.VirtualMachineInstanceMigrationState;

export interface MigrationInput {
  readonly migration: VirtualMachineInstanceMigration;
  /** Undefined: there is none of that name. */
  readonly vmi: VirtualMachineInstance | undefined;
  /** The pod the guest is in now. */
  readonly sourcePod: Pod | undefined;
  readonly targetPod: Pod | undefined;
  /** Another migration of the same instance that is older and not over. */
  readonly rival: string | undefined;
  /** Whether the limits leave room for one more. */
  readonly hasSlot: boolean;
  /** How long the target pod may wait for a node, and for being ready. */
  readonly timeouts: { readonly unschedulableMs: number; readonly pendingMs: number };
  readonly nowMs: number;
}

/** What one pass does. Everything is safe to repeat. */
export type MigrationAction =
  /** Nothing but the phase. */
  | { readonly type: 'none' }
  | { readonly type: 'create-pod' }
  /** Tell both agents. */
  | { readonly type: 'hand-off'; readonly source: Pod; readonly target: Pod }
  /** Ask the source's agent to stop. */
  | { readonly type: 'ask-abort' }
  /** Nobody else will say that it has failed: say so in the instance. */
  | { readonly type: 'settle-failed'; readonly reason: string; readonly isAborted: boolean };

export interface MigrationPlan {
  readonly phase: string;
  readonly action: MigrationAction;
  /** Why it has failed: text of the event. */
  readonly failure?: string;
  readonly retryInMs?: number;
}

const RETRY_MS = 5_000;
const ORDER: readonly string[] = Object.values(MigrationPhase);
const NONE: MigrationAction = { type: 'none' };

const failed = (failure: string): MigrationPlan => ({ phase: MigrationPhase.failed, action: NONE, failure });
const stay = (phase: string, action: MigrationAction = NONE): MigrationPlan => ({ phase, action });

/**
 * Decides the next step of one migration. Before the hand-off it is this controller's alone; afterwards the agents move the
 * guest and say in the instance how far they are, and only the source's agent decides who has the guest.
 */
export function planMigration(input: MigrationInput): MigrationPlan {
  const { migration, vmi } = input;
  const phase = migration.status?.phase ?? MigrationPhase.unset;
  if (isFinalMigration(migration)) return stay(phase);
  if (isHandedOff(migration, vmi) && vmi !== undefined) return afterHandOff(input, vmi, phase);
  if (vmi === undefined) return failed('the instance does not exist');
  if (isFinal(vmi) || isDeleting(vmi)) return failed('the instance has shut down');
  if (isDeleting(migration)) return failed('it was canceled');
  if (ORDER.indexOf(phase) > ORDER.indexOf(MigrationPhase.scheduled))
    return failed("the instance's migration state was cleared or taken over by another migration");
  if (input.rival !== undefined) return failed(`another migration of the instance is under way: ${input.rival}`);
  return beforeHandOff(input, vmi, phase);
}

function beforeHandOff(input: MigrationInput, vmi: VirtualMachineInstance, phase: string): MigrationPlan {
  const { targetPod, sourcePod } = input;
  if (targetPod === undefined) return withoutPod(input, vmi, phase);
  if (isGoingDown(targetPod)) return failed('the target pod has shut down');
  if (!canTakeGuest(targetPod)) return waitingPod(input, targetPod);
  if (sourcePod === undefined || isGoingDown(sourcePod)) return failed('the source pod is gone');
  if (vmi.status?.phase !== VmiPhase.running) return failed('the guest is not running');
  return stay(MigrationPhase.scheduled, { type: 'hand-off', source: sourcePod, target: targetPod });
}

function withoutPod({ hasSlot }: MigrationInput, vmi: VirtualMachineInstance, phase: string): MigrationPlan {
  if (phase !== MigrationPhase.unset && phase !== MigrationPhase.pending) return failed('the target pod was removed');
  const migratable = conditionOf(vmi, VmiCondition.liveMigratable);
  if (migratable?.status === 'False') return failed(`the instance cannot migrate: ${migratable.message ?? migratable.reason}`);
  const isReady = vmi.status?.phase === VmiPhase.running && vmi.status.nodeName !== undefined;
  if (!isReady || !hasSlot) return { ...stay(MigrationPhase.pending), retryInMs: RETRY_MS };
  return stay(MigrationPhase.pending, { type: 'create-pod' });
}

function waitingPod({ timeouts, nowMs }: MigrationInput, pod: Pod): MigrationPlan {
  const isUnschedulable = podCondition(pod, 'PodScheduled')?.status === 'False';
  const createdMs = Date.parse(pod.metadata.creationTimestamp ?? '');
  const limitMs = isUnschedulable ? Math.min(timeouts.unschedulableMs, timeouts.pendingMs) : timeouts.pendingMs;
  const leftMs = (Number.isNaN(createdMs) ? nowMs : createdMs) + limitMs - nowMs;
  if (leftMs > 0) return { ...stay(MigrationPhase.scheduling), retryInMs: leftMs };
  const why = podCondition(pod, 'PodScheduled')?.message;
  return failed(
    isUnschedulable
      ? `no node took the target pod within ${limitMs / 1000} s${why ? `: ${why}` : ''}`
      : `the target pod was not ready within ${limitMs / 1000} s`,
  );
}

function phaseOfState({ startTimestamp, targetNodeAddress }: State): string {
  if (startTimestamp) return MigrationPhase.running;
  return targetNodeAddress ? MigrationPhase.targetReady : MigrationPhase.preparingTarget;
}

function afterHandOff(input: MigrationInput, vmi: VirtualMachineInstance, phase: string): MigrationPlan {
  const { migration, targetPod } = input;
  const state = vmi.status?.migrationState ?? {};
  if (state.completed) return completed(state);
  if (isFinal(vmi)) return failed('the instance has shut down');
  const reached = later(phase, phaseOfState(state));
  // nothing is left that could take the guest: whatever the source's agent decides, it keeps it
  if (targetPod === undefined || hasEnded(targetPod)) return settle(reached, 'the target pod is gone', state);
  const isUnwanted = [migration, vmi, targetPod].some(isDeleting);
  if (!isUnwanted) return stay(reached);
  const hasBegun = state.startTimestamp !== undefined || state.targetNodeAddress !== undefined;
  if (!hasBegun)
    return settle(reached, isDeleting(migration) ? 'it was canceled' : 'the target pod is shutting down', state, true);
  return state.abortRequested ? stay(reached) : stay(reached, { type: 'ask-abort' });
}

function completed({ failed: hasFailed, failureReason }: State): MigrationPlan {
  if (!hasFailed) return stay(MigrationPhase.succeeded);
  return failed(failureReason || "the source's node reported that it has failed");
}

function settle(phase: string, reason: string, state: State, isAborted = state.abortRequested === true): MigrationPlan {
  return stay(phase, { type: 'settle-failed', reason: `Live migration failed: ${reason}`, isAborted });
}

const later = (left: string, right: string): string => (ORDER.indexOf(left) > ORDER.indexOf(right) ? left : right);

/** One entry for each phase on the way; those that went by between two passes get this pass's time. Pure. */
export function phaseTimes({ status }: VirtualMachineInstanceMigration, phase: string, nowMs: number) {
  const times = [...(status?.phaseTransitionTimestamps ?? [])];
  const at = formatTime(nowMs);
  const add = (name: string): void => {
    if (!times.some((entry) => entry.phase === name)) times.push({ phase: name, phaseTransitionTimestamp: at });
  };
  const isFailed = phase === MigrationPhase.failed;
  const from = ORDER.indexOf(status?.phase ?? '');
  if (!isFailed) for (const name of ORDER.slice(from + 1, ORDER.indexOf(phase))) add(name);
  add(phase);
  return times;
}

/** What a migration that has failed without the agents leaves in the instance. Pure. */
export function settledState(state: State, reason: string, isAborted: boolean, nowMs: number): State {
  return {
    ...state,
    completed: true,
    failed: true,
    failureReason: state.failureReason || reason,
    endTimestamp: state.endTimestamp ?? formatTime(nowMs),
    ...(isAborted && { abortRequested: true, abortStatus: 'Succeeded' }),
  };
}
