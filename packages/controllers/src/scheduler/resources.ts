import { parseQuantity, quantityMilliValue, quantityValue } from '@slipway/apimachinery';
import type { Pod } from '@slipway/api';

/** Amounts by resource name: millicores for `cpu`, whole units for everything else. */
export type Amounts = ReadonlyMap<string, number>;

type Quantities = Readonly<Record<string, unknown>> | undefined;

export function amountsOf(quantities: Quantities): Map<string, number> {
  const amounts = new Map<string, number>();
  for (const [name, value] of Object.entries(quantities ?? {})) {
    const quantity = parseQuantity(String(value));
    amounts.set(name, Number(name === 'cpu' ? quantityMilliValue(quantity) : quantityValue(quantity)));
  }
  return amounts;
}

export function addAmounts(into: Map<string, number>, amounts: Amounts): void {
  for (const [name, value] of amounts) into.set(name, (into.get(name) ?? 0) + value);
}

/** Informer objects never change, so what a pod asks for is worked out once. */
const requestsCache = new WeakMap<Pod, Amounts>();

/** What a pod takes from a node: all containers together, or one init container if that needs more, plus overhead. */
export function podRequests(pod: Pod): Amounts {
  const known = requestsCache.get(pod);
  if (known) return known;
  const total = new Map<string, number>();
  for (const container of pod.spec?.containers ?? []) addAmounts(total, amountsOf(container.resources?.requests));
  for (const container of pod.spec?.initContainers ?? []) {
    for (const [name, value] of amountsOf(container.resources?.requests)) total.set(name, Math.max(total.get(name) ?? 0, value));
  }
  addAmounts(total, amountsOf(pod.spec?.overhead));
  requestsCache.set(pod, total);
  return total;
}

/** A pod that has ended takes nothing from its node any more. */
export const isFinished = (pod: Pod): boolean => pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
