import { deepEqual, isAlreadyExists, isNotFound, keyOf } from '@slipway/apimachinery';
import { type Endpoints, EndpointsKind, type Pod, PodKind, type Service, ServiceKind } from '@slipway/api';
import { allow, type ControllerRegistration, done, watchSameKey, watchOf } from '@slipway/runtime';
import { concernsServices, servicesOf } from './services-of-pod.ts';
import { addressOf, hasSelector, isReady, isSelected, targetPort } from './plan-endpoints.ts';

type Subset = NonNullable<Endpoints['subsets']>[number];

/** Keeps the older `Endpoints` object of each service with a selector; they carry the name of the service. */
export const endpointsController: ControllerRegistration = {
  name: 'endpoint-controller',
  rules: [...allow('create update delete', EndpointsKind)],
  create({ client, informers }) {
    const services = informers.lister(ServiceKind);
    const pods = informers.lister(PodKind);
    const endpoints = informers.lister(EndpointsKind);

    const write = async (wanted: Endpoints, signal: AbortSignal): Promise<void> => {
      const current = endpoints.get(keyOf(wanted));
      if (current === undefined) await client.create(EndpointsKind, wanted, { signal });
      else if (!deepEqual([current.subsets ?? [], current.metadata.labels ?? {}], [wanted.subsets, wanted.metadata.labels])) {
        const metadata = { ...current.metadata, labels: wanted.metadata.labels ?? {} };
        await client.update(EndpointsKind, { ...current, metadata, subsets: wanted.subsets ?? [] }, { signal });
      }
    };

    return {
      kind: ServiceKind,
      watches: [watchOf(PodKind, (pod) => servicesOf(services, pod), concernsServices), watchSameKey(EndpointsKind)],
      reconciler: {
        async reconcile(key, signal) {
          const service = services.get(key);
          try {
            if (service === undefined) {
              if (isOurs(endpoints.get(key))) await client.delete(EndpointsKind, key, { signal });
            } else if (!service.metadata.deletionTimestamp && hasSelector(service)) {
              const members = pods.list(key.namespace).filter((pod) => isSelected(service, pod));
              await write(planEndpoints(service, members), signal);
            }
          } catch (error) {
            // it or its namespace went away, or somebody else made it: the watch brings it back
            if (!isNotFound(error) && !isAlreadyExists(error)) throw error;
          }
          return done;
        },
      },
    };
  },
};

const OURS = 'endpoints.kubernetes.io/managed-by';

/** Endpoints that people write for services of their own making outlive a service that was never there. */
const isOurs = (object: Endpoints | undefined): boolean => object?.metadata.labels?.[OURS] === 'endpoint-controller';

/** Pods with the same ports share a subset; ready and other addresses are told apart in it. */
export function planEndpoints(service: Service, pods: readonly Pod[]): Endpoints {
  const { name = '', namespace = '', labels = {} } = service.metadata;
  const headless = service.spec?.clusterIP === 'None' && { 'service.kubernetes.io/headless': '' };
  return {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: { name, namespace, labels: { ...labels, ...headless, [OURS]: 'endpoint-controller' } },
    subsets: subsetsOf(service, pods),
  };
}

function subsetsOf(service: Service, pods: readonly Pod[]): Subset[] {
  const family = service.spec?.ipFamilies?.[0] === 'IPv6' ? 'IPv6' : 'IPv4';
  const subsets = new Map<string, Subset>();
  for (const pod of [...pods].sort((a, b) => compareAddresses(addressOf(a, family), addressOf(b, family)))) {
    const ip = addressOf(pod, family);
    if (ip === undefined || isOver(pod)) continue;
    const ports = portsFor(service, pod);
    const id = JSON.stringify(ports);
    const subset: Subset = subsets.get(id) ?? { ...(ports.length > 0 && { ports }) };
    const list = isServed(service, pod) ? 'addresses' : 'notReadyAddresses';
    subset[list] = [...(subset[list] ?? []), addressEntry(pod, ip)];
    subsets.set(id, subset);
  }
  return [...subsets.values()];
}

const isServed = ({ spec }: Service, pod: Pod): boolean =>
  spec?.publishNotReadyAddresses === true || (isReady(pod) && !pod.metadata.deletionTimestamp);

const isOver = ({ status }: Pod): boolean => status?.phase === 'Succeeded' || status?.phase === 'Failed';

function addressEntry(pod: Pod, ip: string): NonNullable<Subset['addresses']>[number] {
  const { name = '', namespace = '', uid = '' } = pod.metadata;
  const { nodeName, hostname, subdomain } = pod.spec ?? {};
  return {
    ip,
    ...(nodeName && { nodeName }),
    ...(hostname && subdomain && { hostname }),
    targetRef: { kind: 'Pod', namespace, name, uid },
  };
}

function portsFor(service: Service, pod: Pod): NonNullable<Subset['ports']> {
  return (service.spec?.ports ?? []).flatMap((port) => {
    const target = targetPort(port, pod);
    if (target === undefined) return [];
    const { name, appProtocol, protocol = 'TCP' } = port;
    return [{ ...(name && { name }), port: target, protocol, ...(appProtocol && { appProtocol }) }];
  });
}

const compareAddresses = (a = '', b = ''): number => (a < b ? -1 : a > b ? 1 : 0);
