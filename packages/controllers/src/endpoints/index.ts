import { deepEqual, isNotFound, keyOf } from '@slipway/apimachinery';
import { type EndpointSlice, EndpointSliceKind, PodKind, type Service, ServiceKind } from '@slipway/api';
import { allow, type ControllerRegistration, done, owned, watchOf } from '@slipway/runtime';
import { hasSelector, isSelected, planSlice } from './plan-endpoints.ts';
import { concernsServices, servicesOf } from './services-of-pod.ts';

export { endpointsController } from './legacy-endpoints.ts';

/** Lists the pods behind each service. */
export const endpointSliceController: ControllerRegistration = {
  name: 'endpointslice-controller',
  rules: [...allow('create update', EndpointSliceKind)],
  create({ client, informers }) {
    const services = informers.lister(ServiceKind);
    const pods = informers.lister(PodKind);
    const slices = informers.lister(EndpointSliceKind);

    const write = async (slice: EndpointSlice, signal: AbortSignal): Promise<void> => {
      const current = slices.get(keyOf(slice));
      if (current === undefined) {
        if (slice.endpoints.length > 0 || slice.addressType === 'IPv4') await client.create(EndpointSliceKind, slice, { signal });
      } else if (!deepEqual([current.endpoints, current.ports], [slice.endpoints, slice.ports])) {
        await client.update(EndpointSliceKind, { ...current, endpoints: slice.endpoints, ports: slice.ports }, { signal });
      }
    };

    return {
      kind: ServiceKind,
      watches: [watchOf(PodKind, (pod) => servicesOf(services, pod), concernsServices), owned(EndpointSliceKind, ServiceKind)],
      reconciler: {
        async reconcile(key, signal) {
          const service = services.get(key);
          if (service === undefined || service.metadata.deletionTimestamp || !hasSelector(service)) return done;
          const members = pods.list(key.namespace).filter((pod) => isSelected(service, pod));
          try {
            for (const family of familiesOf(service)) await write(planSlice(service, members, family), signal);
          } catch (error) {
            // the slice or the namespace went away: the watch brings it back when that was wrong
            if (!isNotFound(error)) throw error;
          }
          return done;
        },
      },
    };
  },
};

function familiesOf({ spec }: Service): readonly ('IPv4' | 'IPv6')[] {
  const families = (spec?.ipFamilies ?? []).filter((family) => family === 'IPv4' || family === 'IPv6');
  return families.length > 0 ? families : ['IPv4', 'IPv6'];
}
