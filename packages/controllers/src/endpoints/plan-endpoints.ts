import { controllerReference, matchesLabels } from '@slipway/apimachinery';
import { type Endpoint, type EndpointSlice, type Pod, SERVICE_NAME_LABEL, type Service, ServiceKind } from '@slipway/api';

type Port = NonNullable<NonNullable<Service['spec']>['ports']>[number];

export const isReady = (pod: Pod): boolean =>
  pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;

/** Whether a service has its endpoints from pods; one without selector has them from somebody else. */
export const hasSelector = ({ spec }: Service): boolean =>
  Object.keys(spec?.selector ?? {}).length > 0 && spec?.type !== 'ExternalName';

export function isSelected(service: Service, pod: Pod): boolean {
  const selector = Object.entries(service.spec?.selector ?? {}).map(([key, value]) => ({
    key,
    operator: 'In' as const,
    values: [value],
  }));
  return pod.metadata.namespace === service.metadata.namespace && matchesLabels(selector, pod.metadata.labels ?? {});
}

/** The slice of one address family; ports that a pod names are taken from the first pod, which all have alike. */
export function planSlice(service: Service, pods: readonly Pod[], addressType: 'IPv4' | 'IPv6'): EndpointSlice {
  const { name = '', namespace = '' } = service.metadata;
  const serving = pods.filter((pod) => addressOf(pod, addressType) !== undefined && pod.status?.phase === 'Running');
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-${addressType.toLowerCase()}`,
      namespace,
      labels: {
        ...service.metadata.labels,
        [SERVICE_NAME_LABEL]: name,
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      },
      ownerReferences: [controllerReference(service, ServiceKind)],
    },
    addressType,
    endpoints: serving
      .map((pod) => endpointOf(service, pod, addressType))
      .sort((a, b) => (a.addresses[0] ?? '').localeCompare(b.addresses[0] ?? '')),
    ports: (service.spec?.ports ?? []).flatMap((port) => {
      const target = targetPort(port, serving[0]);
      return target === undefined ? [] : [{ name: port.name ?? '', port: target, protocol: port.protocol ?? 'TCP' }];
    }),
  };
}

function endpointOf({ metadata, spec }: Service, pod: Pod, addressType: 'IPv4' | 'IPv6'): Endpoint {
  const { name = '', namespace = '', uid = '', deletionTimestamp } = pod.metadata;
  const serving = isReady(pod);
  const terminating = deletionTimestamp !== undefined;
  const ready = spec?.publishNotReadyAddresses === true || (serving && !terminating);
  return {
    addresses: [addressOf(pod, addressType) ?? ''],
    conditions: { ready, serving, terminating },
    targetRef: { kind: 'Pod', namespace, name, uid },
    ...(pod.spec?.nodeName && { nodeName: pod.spec.nodeName }),
    ...(pod.spec?.hostname && pod.spec.subdomain === metadata.name && { hostname: pod.spec.hostname }),
  };
}

/** Address of the pod in one family. */
export function addressOf({ status }: Pod, addressType: 'IPv4' | 'IPv6'): string | undefined {
  const addresses = status?.podIPs?.map(({ ip }) => ip ?? '') ?? (status?.podIP ? [status.podIP] : []);
  return addresses.find((address) => address !== '' && address.includes(':') === (addressType === 'IPv6'));
}

/** Number of the port of the pod that a port of a service leads to. */
export function targetPort(port: Port, pod: Pod | undefined): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === 'number') return target;
  const containers = pod?.spec?.containers ?? [];
  return containers.flatMap(({ ports = [] }) => ports).find(({ name }) => name === target)?.containerPort;
}
