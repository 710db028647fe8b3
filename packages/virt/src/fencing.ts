import type { Pod } from '@slipway/api';

/** Names by which agents and controllers agree on guests that a lost node has stopped. */
export const FencingAnnotation = {
  /** On a Node: `armed` when something besides the agent ends guests in time. */
  node: 'slipway.dev/fencing',
  /** On a launcher pod: its guest has ended when its node has not renewed its lease for so many seconds. */
  pod: 'slipway.dev/fenced-after-seconds',
} as const;

export const ARMED = 'armed';
export const DISARMED = 'disarmed';

/** Taint of a node that is not heard of any more. */
export const UNREACHABLE_TAINT = 'node.kubernetes.io/unreachable';

/** Without a heartbeat for this long a node is not known to be alive; also the length of its lease. */
export const NODE_MONITOR_GRACE_SECONDS = 40;

/**
 * Seconds that the guest of a pod may go on after its node was last heard of: until the node is called unreachable, and as
 * long as the pod tolerates that. Undefined: for good; nobody starts it elsewhere then. Pure.
 */
export function fenceAfterSeconds(pod: Pod, graceSeconds: number): number | undefined {
  const matching = (pod.spec?.tolerations ?? []).filter(
    ({ key, operator, effect }) =>
      (!key || key === UNREACHABLE_TAINT) && (!effect || effect === 'NoExecute') && (key || operator === 'Exists'),
  );
  if (matching.length === 0) return graceSeconds;
  const bounded = matching.flatMap(({ tolerationSeconds }) => tolerationSeconds ?? []);
  return bounded.length === 0 ? undefined : graceSeconds + Math.max(0, Math.min(...bounded));
}

/** What the server knows when it decides about a pod of a node that may be lost. */
export interface FencingFacts {
  readonly nodeAnnotations: Readonly<Record<string, string>>;
  readonly podAnnotations: Readonly<Record<string, string>>;
  /** Of the node, by the clock of whoever decides. */
  readonly silentMs: number;
}

export type FencingVerdict =
  /** The node has promised nothing about this guest: only the node can say that it has ended. */
  | { readonly state: 'unknown' }
  /** It may still run, for this long. */
  | { readonly state: 'waiting'; readonly leftMs: number }
  /** The node has stopped it: it may start elsewhere. */
  | { readonly state: 'fenced' };

/** For the node's timers, and for clocks that do not run equally fast. */
const MARGIN_MS = 10_000;

/** Whether a guest is known to have ended on a node that is silent. Pure. */
export function fencingVerdict({ nodeAnnotations, podAnnotations, silentMs }: FencingFacts): FencingVerdict {
  const promised = podAnnotations[FencingAnnotation.pod];
  const seconds = promised === undefined || promised === '' ? Number.NaN : Number(promised);
  if (nodeAnnotations[FencingAnnotation.node] !== ARMED || !Number.isFinite(seconds) || seconds < 0) return { state: 'unknown' };
  const leftMs = seconds * 1000 + MARGIN_MS - silentMs;
  return leftMs > 0 ? { state: 'waiting', leftMs } : { state: 'fenced' };
}
