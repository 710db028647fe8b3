import type { core, Pod } from '@slipway/api';
import { formatTime } from '@slipway/apimachinery';
import type { MoverOutcome, MoverRecord, MoverRun } from './mover-launcher.ts';

type PodStatus = NonNullable<Pod['status']>;

/** Where a mover's container stands. */
export type MoverState =
  | { readonly kind: 'waiting'; readonly reason: string; readonly message: string }
  /** `isReady: false`: it runs and does not take uploads yet. */
  | { readonly kind: 'running'; readonly isReady?: boolean }
  | { readonly kind: 'terminated'; readonly outcome: MoverOutcome };

const time = (epochMs: number | undefined): string => formatTime(epochMs ?? 0);

function terminated(outcome: MoverOutcome, run: MoverRun | undefined): core.ContainerStateTerminated {
  return {
    exitCode: outcome.exitCode,
    reason: outcome.exitCode === 0 ? 'Completed' : 'Error',
    message: outcome.message,
    startedAt: time(run?.startedAtMs),
    finishedAt: time(run?.endedAtMs),
  } as unknown as core.ContainerStateTerminated; // times are strings on the wire
}

/** `status` of a mover's pod. */
export function moverPodStatus(pod: Pod, state: MoverState, record: MoverRecord | undefined): PodStatus {
  const container = pod.spec?.containers[0];
  const isRunning = state.kind === 'running';
  const isReady = state.kind === 'running' && state.isReady !== false;
  const restartCount = record?.restarts ?? 0;
  const status = {
    phase: phaseOf(state, record),
    ...(record !== undefined && { startTime: pod.status?.startTime ?? time(record.startedAtMs) }),
    conditions: mergeConditions(pod, isReady),
    containerStatuses: [
      {
        name: container?.name ?? 'importer',
        image: container?.image ?? '',
        imageID: '',
        ready: isReady,
        started: isRunning,
        restartCount,
        state: containerState(state, record),
        lastState: lastState(state, record),
      },
    ],
  };
  return status as unknown as PodStatus; // times are strings on the wire
}

function phaseOf(state: MoverState, record: MoverRecord | undefined): string {
  if (state.kind === 'terminated') return state.outcome.exitCode === 0 ? 'Succeeded' : 'Failed';
  return state.kind === 'running' || record !== undefined ? 'Running' : 'Pending';
}

function containerState(state: MoverState, record: MoverRecord | undefined): object {
  if (state.kind === 'running') return { running: { startedAt: time(record?.startedAtMs) } };
  if (state.kind === 'waiting') return { waiting: { reason: state.reason, message: state.message } };
  return { terminated: terminated(state.outcome, record) };
}

/** How the run before ended: for as long as the container lives, so that nobody has to look at the right moment. */
function lastState(state: MoverState, record: MoverRecord | undefined): object {
  const last = state.kind === 'waiting' && record?.outcome ? record : record?.last;
  return last?.outcome ? { terminated: terminated(last.outcome, last) } : {};
}

function mergeConditions(pod: Pod, isReady: boolean): object[] {
  const kept = (pod.status?.conditions ?? []).filter(({ type }) => type !== 'Ready' && type !== 'ContainersReady');
  const status = isReady ? 'True' : 'False';
  return [...kept, { type: 'ContainersReady', status }, { type: 'Ready', status }];
}
