import type { Pod } from '@slipway/api';
import { addQuantities, compareQuantities, formatQuantity, parseQuantity, type Quantity } from '@slipway/apimachinery';
import type { Usage } from '@slipway/runtime';

const ZERO = parseQuantity('0');

/** A quota with what is in use of it. */
export interface QuotaState {
  readonly name: string;
  readonly hard: Readonly<Record<string, unknown>>;
  readonly used: Usage;
  readonly counts: (pod: Pod) => boolean;
}

export interface WaitingPod {
  readonly pod: Pod;
  readonly charge: Usage;
}

export interface ReleasePlan {
  readonly released: readonly Pod[];
  /** Pods that go on waiting, with the reason. */
  readonly held: readonly { readonly pod: Pod; readonly why: string }[];
}

/** Which waiting pods fit into all quotas, the oldest first; a small one may go before a large one that does not fit. */
export function planRelease(waiting: readonly WaitingPod[], quotas: readonly QuotaState[]): ReleasePlan {
  const used = new Map(quotas.map((quota) => [quota, new Map(quota.used)]));
  const released: Pod[] = [];
  const held: { pod: Pod; why: string }[] = [];
  for (const { pod, charge } of [...waiting].sort(oldestFirst)) {
    const concerned = quotas.filter(({ counts }) => counts(pod));
    const why = concerned.flatMap((quota) => excess(quota, used.get(quota) ?? quota.used, charge) ?? [])[0];
    if (why !== undefined) {
      held.push({ pod, why });
      continue;
    }
    for (const quota of concerned) take(used.get(quota), charge);
    released.push(pod);
  }
  return { released, held };
}

function oldestFirst({ pod: { metadata: a } }: WaitingPod, { pod: { metadata: b } }: WaitingPod): number {
  const key = (metadata: typeof a): string => `${metadata.creationTimestamp} ${metadata.namespace}/${metadata.name}`;
  return key(a) < key(b) ? -1 : 1;
}

function take(used: Usage | undefined, charge: Usage): void {
  for (const [name, amount] of charge) used?.set(name, sum(used.get(name), amount));
}

// zero has no unit of its own
const sum = (before: Quantity | undefined, more: Quantity): Quantity =>
  before === undefined || before.nano === 0n ? more : addQuantities(before, more);

function excess({ name, hard }: QuotaState, used: Usage, charge: Usage): string | undefined {
  const over = Object.keys(hard)
    .sort()
    .filter((key) => {
      const more = charge.get(key);
      if (more === undefined || more.nano === 0n) return false;
      return compareQuantities(sum(used.get(key), more), parseQuantity(String(hard[key]))) > 0;
    });
  if (over.length === 0) return undefined;
  const list = (amountOf: (key: string) => string): string => over.map((key) => `${key}=${amountOf(key)}`).join(',');
  const requested = list((key) => formatQuantity(charge.get(key) ?? ZERO));
  const before = list((key) => formatQuantity(used.get(key) ?? ZERO));
  return `exceeded quota: ${name}, requested: ${requested}, used: ${before}, limited: ${list((key) => String(hard[key]))}`;
}
