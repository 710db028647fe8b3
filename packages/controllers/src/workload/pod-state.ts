import { parseTime } from '@slipway/apimachinery';
import type { Pod } from '@slipway/api';
import { isFinished } from '../scheduler/resources.ts';

export { isFinished };

const readyCondition = ({ status }: Pod) => status?.conditions?.find(({ type }) => type === 'Ready');

/** Condition `Ready` is true. */
export const isPodReady = (pod: Pod): boolean => readyCondition(pod)?.status === 'True';

/** Neither ended nor on its way out: it counts as one of its controller's. */
export const isActive = (pod: Pod): boolean => !isFinished(pod) && !pod.metadata.deletionTimestamp;

/** How long until a ready pod counts as available: 0 when it does, undefined when it is not ready. */
export function availableInMs(pod: Pod, minReadySeconds: number, nowMs: number): number | undefined {
  if (!isPodReady(pod)) return undefined;
  if (minReadySeconds === 0) return 0;
  const since = parseTime(readyCondition(pod)?.lastTransitionTime) ?? nowMs;
  return Math.max(0, since + minReadySeconds * 1000 - nowMs);
}

/** Ready for at least `minReadySeconds`. */
export const isAvailable = (pod: Pod, minReadySeconds: number, nowMs: number): boolean =>
  availableInMs(pod, minReadySeconds, nowMs) === 0;

/** The time after which the first of the pods that are ready but not available yet will be; undefined: none waits. */
export function nextAvailabilityMs(pods: readonly Pod[], minReadySeconds: number, nowMs: number): number | undefined {
  const waits = pods.map((pod) => availableInMs(pod, minReadySeconds, nowMs)).filter((wait) => wait !== undefined && wait > 0);
  return waits.length === 0 ? undefined : Math.min(...(waits as number[])); // undefined was filtered out
}
