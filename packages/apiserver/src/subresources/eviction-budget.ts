import {
  StatusError,
  type UnstructuredObject,
  forbidden,
  formatTime,
  isObject,
  matchesLabels,
  selectorOf,
  type LabelSelectorObject,
} from '@slipway/apimachinery';

/** What stands between a pod and its eviction. */
export type EvictionPlan =
  /** Nothing. */
  | { readonly type: 'delete' }
  /** It counts for no budget while it is as it is now, so only in this version. */
  | { readonly type: 'delete-as-is' }
  /** The budget has to grant it. */
  | { readonly type: 'ask'; readonly budget: UnstructuredObject };

const BUDGETS = { resource: 'poddisruptionbudgets', group: 'policy' } as const;
const REFUSAL = "Cannot evict pod as it would violate the pod's disruption budget.";
/** Evictions that the controller has not seen the end of; more would make the object too large. */
const MAX_DISRUPTED_PODS = 2000;
const PROCESSING_RETRY_SECONDS = 10;

/** Decides who has to agree. Throws 500 when several budgets cover the pod. */
export function planEviction(pod: UnstructuredObject, budgets: readonly UnstructuredObject[]): EvictionPlan {
  const status = isObject(pod['status']) ? pod['status'] : {};
  const { phase } = status;
  const isOver = phase === 'Succeeded' || phase === 'Failed' || phase === 'Pending';
  if (isOver || pod.metadata.deletionTimestamp !== undefined) return { type: 'delete' };
  const covering = budgets.filter((budget) => covers(budget, pod));
  const [budget] = covering;
  if (budget === undefined) return { type: 'delete' };
  if (covering.length > 1) throw severalBudgets();
  if (!isReady(status) && mayGoUnready(budget)) return { type: 'delete-as-is' };
  return { type: 'ask', budget };
}

function covers({ spec, metadata }: UnstructuredObject, pod: UnstructuredObject): boolean {
  if (metadata.namespace !== pod.metadata.namespace || !isObject(spec)) return false;
  const selector = selectorOf(spec['selector'] as LabelSelectorObject | undefined); // validated on write
  return selector !== undefined && matchesLabels(selector, pod.metadata.labels);
}

const severalBudgets = (): StatusError =>
  new StatusError({
    code: 500,
    message: 'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.',
  });

function isReady(status: Record<string, unknown>): boolean {
  const conditions = Array.isArray(status['conditions']) ? status['conditions'].filter(isObject) : [];
  return conditions.some(({ type, status: value }) => type === 'Ready' && value === 'True');
}

/** A pod that is not ready serves nobody; whether it may go depends on how the others fare. */
function mayGoUnready({ spec, status }: UnstructuredObject): boolean {
  if (isObject(spec) && spec['unhealthyPodEvictionPolicy'] === 'AlwaysAllow') return true;
  const { currentHealthy, desiredHealthy } = numbersOf(status);
  return desiredHealthy > 0 && currentHealthy >= desiredHealthy;
}

function numbersOf(status: unknown) {
  const read = isObject(status) ? status : {};
  const number = (name: string): number => Number(read[name] ?? 0);
  return {
    currentHealthy: number('currentHealthy'),
    desiredHealthy: number('desiredHealthy'),
    disruptionsAllowed: number('disruptionsAllowed'),
    observedGeneration: number('observedGeneration'),
  };
}

/** The budget after it has granted the eviction. Throws 429 when it does not, 403 when it cannot say. */
export function grantEviction(budget: UnstructuredObject, podName: string, nowMs: number): UnstructuredObject {
  const { name = '', generation = 0 } = budget.metadata;
  const status = isObject(budget['status']) ? budget['status'] : {};
  const { disruptionsAllowed, observedGeneration, desiredHealthy, currentHealthy } = numbersOf(status);
  if (observedGeneration < generation)
    throw refusal(`The disruption budget ${name} is still being processed by the server.`, PROCESSING_RETRY_SECONDS);
  if (disruptionsAllowed < 0) throw forbidden(BUDGETS, name, 'pdb disruptions allowed is negative');
  const disruptedPods = isObject(status['disruptedPods']) ? status['disruptedPods'] : {};
  if (Object.keys(disruptedPods).length > MAX_DISRUPTED_PODS)
    throw forbidden(BUDGETS, name, 'DisruptedPods map too big - too many evictions not confirmed by PDB controller');
  if (disruptionsAllowed === 0)
    throw refusal(`The disruption budget ${name} needs ${desiredHealthy} healthy pods and has ${currentHealthy} currently`);
  const left = disruptionsAllowed - 1;
  return {
    ...budget,
    status: {
      ...status,
      disruptionsAllowed: left,
      disruptedPods: { ...disruptedPods, [podName]: formatTime(nowMs) },
      ...(left === 0 && { conditions: withoutRoom(status['conditions'], generation, nowMs) }),
    },
  };
}

/** Kubernetes-compat: a wait is suggested only where time alone will help. */
const refusal = (message: string, retryAfterSeconds?: number): StatusError =>
  new StatusError({
    code: 429,
    reason: 'TooManyRequests',
    message: REFUSAL,
    details: {
      ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
      causes: [{ reason: 'DisruptionBudget', message }],
    },
  });

function withoutRoom(conditions: unknown, observedGeneration: number, nowMs: number): unknown[] {
  const all = Array.isArray(conditions) ? conditions.filter(isObject) : [];
  const before = all.find(({ type }) => type === 'DisruptionAllowed');
  const lastTransitionTime = before?.['status'] === 'False' ? before['lastTransitionTime'] : formatTime(nowMs);
  const condition = { type: 'DisruptionAllowed', status: 'False', reason: 'InsufficientPods', message: '' };
  return [...all.filter(({ type }) => type !== 'DisruptionAllowed'), { ...condition, observedGeneration, lastTransitionTime }];
}
