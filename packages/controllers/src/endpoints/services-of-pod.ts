import { deepEqual, keyOf, type ObjectKey } from '@slipway/apimachinery';
import type { Pod, Service } from '@slipway/api';
import type { InformerEvent, Lister } from '@slipway/runtime';
import { hasSelector, isReady, isSelected } from './plan-endpoints.ts';

/** Keys of the services that have the pod behind them. */
export const servicesOf = (services: Lister<Service>, pod: Pod): readonly ObjectKey[] =>
  services
    .list(pod.metadata.namespace)
    .filter((service) => hasSelector(service) && isSelected(service, pod))
    .map(keyOf);

/** Whether a change of a pod can change what a service has behind it. */
export function concernsServices({ type, object, old }: InformerEvent<Pod>): boolean {
  if (type !== 'updated') return true;
  const shape = (pod: Pod): unknown => [
    pod.metadata.labels,
    pod.metadata.deletionTimestamp,
    pod.status?.phase,
    pod.status?.podIPs,
    isReady(pod),
  ];
  return !deepEqual(shape(object), shape(old));
}
