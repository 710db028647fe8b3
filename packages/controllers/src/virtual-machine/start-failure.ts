import { formatTime } from '@slipway/apimachinery';
import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { hasReachedRunning, isFinal } from '../virtual-machine-instance/instance-state.ts';
import type { RunStrategy } from './run-strategy.ts';

type StartFailure = kubevirt.VirtualMachineStartFailure;

const BASE_SECONDS = 10;
const CAP_SECONDS = 300;
const COUNTED: readonly RunStrategy[] = ['Always', 'RerunOnFailure', 'Once'];

/** Seconds until the next try after `count` failed starts in a row; `random` is in [0, 1). */
export function startDelaySeconds(count: number, random: number): number {
  const delay = BASE_SECONDS * count ** 2;
  return Math.min(CAP_SECONDS, Math.floor(delay + random * (delay / 2)));
}

export interface StartFailureInput {
  readonly previous: StartFailure | undefined;
  readonly runStrategy: RunStrategy;
  readonly vmi: VirtualMachineInstance | undefined;
  /** Somebody has asked for the end of this instance: that is no failure. */
  readonly isStopRequested: boolean;
  readonly nowMs: number;
  readonly random: number;
}

/** `status.startFailure`: counts instances that ended before their guest ran, once each. */
export function nextStartFailure({
  previous,
  runStrategy,
  vmi,
  isStopRequested,
  nowMs,
  random,
}: StartFailureInput): StartFailure | undefined {
  if (!COUNTED.includes(runStrategy)) return undefined;
  if (vmi === undefined) return previous;
  if (hasReachedRunning(vmi)) return undefined;
  if (!isFinal(vmi) || isStopRequested || previous?.lastFailedVMIUID === vmi.metadata.uid) return previous;
  const count = (previous?.consecutiveFailCount ?? 0) + 1;
  const retryAtMs = nowMs + startDelaySeconds(count, random) * 1000;
  return {
    consecutiveFailCount: count,
    ...(vmi.metadata.uid !== undefined && { lastFailedVMIUID: vmi.metadata.uid }),
    retryAfterTimestamp: formatTime(retryAtMs),
  };
}

/** Milliseconds that a start must still wait; 0 when it may go on. */
export function startBackoffMs(failure: StartFailure | undefined, nowMs: number): number {
  const retryAt = Date.parse(failure?.retryAfterTimestamp ?? '');
  return Number.isNaN(retryAt) ? 0 : Math.max(0, retryAt - nowMs);
}
