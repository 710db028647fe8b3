import { API_RELAY_PORT, type EndpointSlice, type Node, SERVICE_NAME_LABEL, type Service } from '@slipway/api';

/** The API server as everybody in the cluster knows it. */
export const KUBERNETES = { namespace: 'default', name: 'kubernetes' } as const;

const PORT_NAME = 'https';

/** The Service by which pods reach the API server. Pure. */
export const kubernetesService = (clusterIP: string): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { ...KUBERNETES, labels: { component: 'apiserver', provider: 'kubernetes' } },
  spec: {
    type: 'ClusterIP',
    clusterIP,
    clusterIPs: [clusterIP],
    ipFamilies: ['IPv4'],
    ipFamilyPolicy: 'SingleStack',
    // each node passes connections on itself: another node would be one more that can fail
    internalTrafficPolicy: 'Local',
    sessionAffinity: 'None',
    ports: [{ name: PORT_NAME, port: 443, protocol: 'TCP', targetPort: API_RELAY_PORT }],
  },
});

/** Its endpoints: the routers of the pods of every node that is there. Pure. */
export function kubernetesSlice(nodes: readonly Node[]): EndpointSlice {
  const endpoints = nodes.flatMap(({ metadata, spec, status }) => {
    const [router] = (spec?.podCIDRs ?? []).flatMap(routerOf);
    if (router === undefined || !metadata.name) return [];
    const ready = status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
    return [{ addresses: [router], conditions: { ready, serving: ready, terminating: false }, nodeName: metadata.name }];
  });
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { ...KUBERNETES, labels: { [SERVICE_NAME_LABEL]: KUBERNETES.name } },
    addressType: 'IPv4',
    endpoints: endpoints.sort((a, b) => a.nodeName.localeCompare(b.nodeName)),
    ports: [{ name: PORT_NAME, port: API_RELAY_PORT, protocol: 'TCP' }],
  };
}

/** Of an IPv4 network whose address ends in 0, as all of nodes do. */
const routerOf = (network: string): string[] => (/^[\d.]+\.0\/\d+$/.test(network) ? [network.replace(/0\/\d+$/, '1')] : []);
