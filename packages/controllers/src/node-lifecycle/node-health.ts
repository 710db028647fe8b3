import type { Lease, Node } from '@slipway/api';
import { setCondition } from '@slipway/apimachinery';
import { ARMED, FencingAnnotation, UNREACHABLE_TAINT } from '@slipway/virt';

type Conditions = Parameters<typeof setCondition>[0];
type Taint = NonNullable<NonNullable<Node['spec']>['taints']>[number];

/** When this process last saw a node give a sign of life. Leases carry the node's clock, which may be wrong. */
export interface Heartbeat {
  readonly renewTime: string | undefined;
  /** What the agent last said of itself. */
  readonly ready: string | undefined;
  readonly seenMs: number;
}

/** Takes a look at a node. The first counts as a sign of life: this process may have been away, not the node. */
export function heartbeat(last: Heartbeat | undefined, lease: Lease | undefined, node: Node, nowMs: number): Heartbeat {
  const renewTime = lease?.spec?.renewTime;
  const condition = node.status?.conditions?.find(({ type }) => type === 'Ready');
  // Unknown is what this controller writes
  const ready = condition?.status === 'Unknown' ? last?.ready : `${condition?.status} ${condition?.lastHeartbeatTime ?? ''}`;
  return last !== undefined && last.renewTime === renewTime && last.ready === ready ? last : { renewTime, ready, seenMs: nowMs };
}

const LOST = { reason: 'NodeStatusUnknown', message: 'Kubelet stopped posting node status.' };

/** Conditions of a node that fell silent: nothing about it is known any more. */
export function unknownConditions(node: Node, now: string): Conditions {
  return (node.status?.conditions as Conditions)?.reduce<Conditions>(
    (all, { type }) => setCondition(all, { type, status: 'Unknown', ...LOST }, now),
    node.status?.conditions as Conditions,
  );
}

const NOT_READY = 'node.kubernetes.io/not-ready';

/**
 * The taints that a node's Ready condition asks for, beside those of others. Pods are ended for it only where another node
 * could run them: the guests of an only node outlive its agent.
 */
export function taintsFor(node: Node, now: string): readonly Taint[] {
  const ready = node.status?.conditions?.find(({ type }) => type === 'Ready');
  const others = (node.spec?.taints ?? []).filter(({ key }) => key !== NOT_READY && key !== UNREACHABLE_TAINT);
  if (ready?.status === 'True') return others;
  const key = ready?.status === 'Unknown' ? UNREACHABLE_TAINT : NOT_READY;
  const isFenced = node.metadata.annotations?.[FencingAnnotation.node] === ARMED;
  const present = (effect: Taint['effect']) => node.spec?.taints?.find((taint) => taint.key === key && taint.effect === effect);
  return [
    ...others,
    present('NoSchedule') ?? { key, effect: 'NoSchedule' },
    ...(isFenced ? [present('NoExecute') ?? { key, effect: 'NoExecute' as const, timeAdded: now }] : []),
  ];
}
