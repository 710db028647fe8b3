import { parseQuantity, quantityMilliValue, quantityValue } from '@slipway/apimachinery';
import type { core, Pod } from '@slipway/api';

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

/**
 * What a pod takes from a node: all containers together, or one init container if that needs more, plus overhead. An init
 * container that goes on (a sidecar) counts with the containers, and with the init containers after it.
 */
export function podRequests(pod: Pod): Amounts {
  const known = requestsCache.get(pod);
  if (known) return known;
  const total = new Map<string, number>();
  for (const container of pod.spec?.containers ?? []) addAmounts(total, requestsOf(container));
  const sidecars = new Map<string, number>();
  const starting = new Map<string, number>();
  for (const container of pod.spec?.initContainers ?? []) {
    const needed = requestsOf(container);
    const during = new Map(sidecars);
    addAmounts(during, needed);
    if (isSidecar(container)) addAmounts(sidecars, needed);
    raiseTo(starting, during);
  }
  addAmounts(total, sidecars);
  raiseTo(total, starting);
  for (const [name, value] of wholePodRequests(pod)) total.set(name, value);
  addAmounts(total, amountsOf(pod.spec?.overhead));
  requestsCache.set(pod, total);
  return total;
}

const requestsOf = ({ resources }: core.Container): Amounts => amountsOf(resources?.requests);

const isSidecar = (container: core.Container): boolean => container.restartPolicy === 'Always';

/** `spec.resources` says what the whole pod gets, whatever its containers ask for. */
function wholePodRequests({ spec }: Pod): Amounts {
  const { requests } = (spec as { resources?: core.ResourceRequirements } | undefined)?.resources ?? {};
  return amountsOf(requests);
}

function raiseTo(amounts: Map<string, number>, atLeast: Amounts): void {
  for (const [name, value] of atLeast) amounts.set(name, Math.max(amounts.get(name) ?? 0, value));
}

/** A pod that has ended takes nothing from its node any more. */
export const isFinished = (pod: Pod): boolean => pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
