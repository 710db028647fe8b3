import type { VirtualMachine } from '@slipway/api';
import { parseTime } from '@slipway/apimachinery';
import { condition, withConditions } from '../vm-snapshot/objects.ts';
import type { VmRestore } from './restore-plan.ts';

type Status = NonNullable<VmRestore['status']>;

export const RESTORE_FINALIZER = 'snapshot.kubevirt.io/vmrestore-protection';
const GRACE_MS = 300_000;

/** What a restore does while its target is not stopped. */
export type Readiness =
  | { readonly action: 'go' }
  | { readonly action: 'wait'; readonly untilMs?: number }
  | { readonly action: 'stop' }
  | { readonly action: 'fail'; readonly message: string };

/** Decides by the target readiness policy. Pure. */
export function targetReadiness(restore: VmRestore, isStopped: boolean, nowMs: number): Readiness {
  if (isStopped) return { action: 'go' };
  const since = parseTime(restore.metadata.creationTimestamp) ?? 0;
  const { name } = restore.spec.target;
  switch (restore.spec.targetReadinessPolicy) {
    case 'FailImmediate':
      return { action: 'fail', message: `Restore target VMI ${name} must be powered off before restore operation can begin` };
    case 'StopTarget':
      return { action: 'stop' };
    case 'WaitEventually':
      return { action: 'wait' };
    default:
      return nowMs >= since + GRACE_MS
        ? { action: 'fail', message: `Restore target ${name} failed to be ready within ${GRACE_MS / 60_000}m0s` }
        : { action: 'wait', untilMs: since + GRACE_MS };
  }
}

export const isComplete = ({ status }: VmRestore): boolean => status?.complete === true;
export const hasFailed = ({ status }: VmRestore): boolean =>
  status?.conditions?.some(({ type, status: is }) => type === 'Failure' && is === 'True') ?? false;

/** The status while work goes on. */
export function restoring({ status }: VmRestore, reason: string, now: string): Status {
  const conditions = [condition('Progressing', true, reason), condition('Ready', false, 'Waiting for the restore')];
  return { ...status, complete: false, conditions: withConditions(status?.conditions, conditions, now) };
}

export function completed({ status }: VmRestore, now: string): Status {
  const conditions = [condition('Progressing', false, 'Operation complete'), condition('Ready', true, 'Operation complete')];
  return { ...status, complete: true, restoreTime: now, conditions: withConditions(status?.conditions, conditions, now) };
}

export function brokenOff({ status }: VmRestore, reason: string, now: string): Status {
  const conditions = [
    condition('Progressing', false, reason),
    condition('Ready', false, reason),
    condition('Failure', true, reason),
  ];
  return { ...status, complete: false, conditions: withConditions(status?.conditions, conditions, now) };
}

/** Whether a VM is the one that a restore goes into, or only has its name. */
export const isLockedBy = (vm: VirtualMachine, restore: VmRestore): boolean =>
  vm.status?.restoreInProgress === restore.metadata.name;
