import { isNotFound, keyOf } from '@slipway/apimachinery';
import { type Service, ServiceKind } from '@slipway/api';
import { allow, type ControllerRegistration, done } from '@slipway/runtime';
import { addressesOf, planAddress } from './plan-address.ts';

/** Gives Services of type LoadBalancer addresses of this machine's own range. The packet filter of the nodes does the rest. */
export const serviceLoadBalancerController: ControllerRegistration = {
  name: 'service-load-balancer-controller',
  rules: [...allow('patch', [ServiceKind, 'status'])],
  create({ client, informers, events, settings }) {
    const services = informers.lister(ServiceKind);
    const pool = settings.loadBalancerAddresses ?? [];
    /** Written, but perhaps not cached yet; by uid. */
    const given = new Map<string, readonly string[]>();

    const takenBeside = (service: Service): Set<string> => {
      const others = services.list().filter(({ metadata }) => metadata.uid !== service.metadata.uid);
      const alive = new Set(others.map(({ metadata }) => metadata.uid ?? ''));
      for (const uid of given.keys()) if (!alive.has(uid) && uid !== service.metadata.uid) given.delete(uid);
      const pending = [...given].flatMap(([uid, addresses]) => (uid === service.metadata.uid ? [] : addresses));
      return new Set([...others.flatMap(addressesOf), ...pending]);
    };
    const write = async (service: Service, ingress: readonly object[], signal: AbortSignal): Promise<void> => {
      const patch = { status: { loadBalancer: { ingress: ingress.length > 0 ? ingress : null } } };
      try {
        await client.patch(ServiceKind, keyOf(service), patch, { type: 'merge', subresource: 'status', signal });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    };

    return {
      kind: ServiceKind,
      concurrency: 1, // two Services must not be given the same address
      reconciler: {
        async reconcile(key, signal) {
          const service = services.get(key);
          if (service === undefined || service.metadata.deletionTimestamp || pool.length === 0) return done;
          const plan = planAddress({ service, pool, taken: takenBeside(service) });
          if (plan.kind === 'wait') events.warning(service, 'AllocationFailed', plan.message);
          if (plan.kind === 'release') {
            given.delete(service.metadata.uid ?? '');
            await write(service, [], signal);
          }
          if (plan.kind === 'assign') {
            given.set(service.metadata.uid ?? '', plan.addresses);
            const ingress = plan.addresses.map((ip) => ({ ip, ipMode: 'VIP' }));
            await write(service, ingress, signal);
            events.normal(service, 'IPAllocated', `Assigned address ${plan.addresses.join(' and ')}`);
          }
          return done;
        },
      },
    };
  },
};
