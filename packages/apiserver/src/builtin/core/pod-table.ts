import type { Pod, core } from '@slipway/api';
import { type UnstructuredObject, ageOf } from '@slipway/apimachinery';
import { ageColumn, column, nameColumn } from '../define.ts';

const asPod = (object: UnstructuredObject): Pod => object as unknown as Pod; // served as this kind

/** The STATUS cell: what a person wants to know first. */
export function podStatusText(pod: Pod): string {
  const { status } = pod;
  const text = initStatusText(pod) ?? containerStatusText(pod) ?? status?.reason ?? status?.phase ?? 'Unknown';
  if (pod.metadata.deletionTimestamp === undefined) return text;
  return status?.reason === 'NodeLost' ? 'Unknown' : 'Terminating';
}

function initStatusText({ spec, status }: Pod): string | undefined {
  const statuses = status?.initContainerStatuses ?? [];
  const total = spec?.initContainers?.length ?? 0;
  const index = statuses.findIndex(({ state }) => state?.terminated?.exitCode !== 0);
  const state = statuses[index]?.state;
  if (index < 0) return undefined;
  if (state?.terminated !== undefined) return `Init:${terminatedText(state.terminated)}`;
  const waiting = state?.waiting?.reason;
  return waiting && waiting !== 'PodInitializing' ? `Init:${waiting}` : `Init:${index}/${total}`;
}

function terminatedText({ reason, signal, exitCode }: core.ContainerStateTerminated): string {
  if (reason) return reason;
  return signal ? `Signal:${signal}` : `ExitCode:${exitCode}`;
}

function stoppedText(state: core.ContainerState | undefined): string | undefined {
  if (state?.waiting?.reason) return state.waiting.reason;
  return state?.terminated === undefined ? undefined : terminatedText(state.terminated);
}

function containerStatusText({ status }: Pod): string | undefined {
  const containers = status?.containerStatuses ?? [];
  // the first container that is not running tells
  const text = containers.map(({ state }) => stoppedText(state)).find((entry) => entry !== undefined);
  const hasRunning = containers.some(({ state, ready }) => ready && state?.running !== undefined);
  if (text !== 'Completed' || !hasRunning) return text;
  const ready = status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') ?? false;
  return ready ? 'Running' : 'NotReady';
}

function restartsText({ status }: Pod, nowMs: number): string {
  const statuses = status?.containerStatuses ?? [];
  const count = statuses.reduce((sum, entry) => sum + entry.restartCount, 0);
  const last = statuses
    .map((entry) => entry.lastState?.terminated?.finishedAt ?? '')
    .sort()
    .at(-1);
  return count > 0 && last ? `${count} (${ageOf(last, nowMs)} ago)` : String(count);
}

const readyText = ({ spec, status }: Pod): string => {
  const ready = (status?.containerStatuses ?? []).filter((entry) => entry.ready && entry.state?.running !== undefined).length;
  return `${ready}/${spec?.containers.length ?? 0}`;
};

function readinessGatesText({ spec, status }: Pod): string {
  const gates = spec?.readinessGates ?? [];
  if (gates.length === 0) return '<none>';
  const passed = gates.filter((gate) =>
    status?.conditions?.some((entry) => entry.type === gate.conditionType && entry.status === 'True'),
  );
  return `${passed.length}/${gates.length}`;
}

export const podColumns = [
  nameColumn,
  column('Ready', (object) => readyText(asPod(object))),
  column('Status', (object) => podStatusText(asPod(object))),
  column('Restarts', (object, nowMs) => restartsText(asPod(object), nowMs)),
  ageColumn,
  column('IP', (object) => asPod(object).status?.podIP || '<none>', { wide: true }),
  column('Node', (object) => asPod(object).spec?.nodeName || '<none>', { wide: true }),
  column('Nominated Node', (object) => asPod(object).status?.nominatedNodeName || '<none>', { wide: true }),
  column('Readiness Gates', (object) => readinessGatesText(asPod(object)), { wide: true }),
];

const COMPLETED: Readonly<Record<string, { reason: string; message: string }>> = {
  Succeeded: { reason: 'Succeeded', message: 'The pod has completed successfully.' },
  Failed: { reason: 'Failed', message: 'The pod failed.' },
};

/** Finished pods are marked so that kubectl can leave them out. */
export function podRowConditions(object: UnstructuredObject): Record<string, unknown>[] | undefined {
  const completed = COMPLETED[asPod(object).status?.phase ?? ''];
  return completed && [{ type: 'Completed', status: 'True', ...completed }];
}
