import type { Pod } from '@slipway/api';
import { isPodReady } from '../workload/pod-state.ts';

const COST = 'controller.kubernetes.io/pod-deletion-cost';
const PHASES = ['Pending', 'Unknown', 'Running'];

type Rank = (pod: Pod) => number;

const readySince = ({ status }: Pod): string =>
  status?.conditions?.find(({ type }) => type === 'Ready')?.lastTransitionTime ?? '';

/** Pods that are missed least first: without node, not running, not ready, cheap, crowded, young. */
export function inRemovalOrder(pods: readonly Pod[]): readonly Pod[] {
  const perNode = new Map<string, number>();
  for (const { spec } of pods) perNode.set(spec?.nodeName ?? '', (perNode.get(spec?.nodeName ?? '') ?? 0) + 1);
  const ranks: readonly Rank[] = [
    (pod) => (pod.spec?.nodeName ? 1 : 0),
    (pod) => PHASES.indexOf(pod.status?.phase ?? 'Pending'),
    (pod) => (isPodReady(pod) ? 1 : 0),
    (pod) => Number(pod.metadata.annotations?.[COST] ?? 0) || 0,
    (pod) => -(perNode.get(pod.spec?.nodeName ?? '') ?? 0),
  ];
  return [...pods].sort((a, b) => {
    for (const rank of ranks) if (rank(a) !== rank(b)) return rank(a) - rank(b);
    if (readySince(a) !== readySince(b)) return readySince(a) > readySince(b) ? -1 : 1;
    return (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? '');
  });
}
