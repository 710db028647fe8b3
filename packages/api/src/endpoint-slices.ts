import type { KubeObject } from '@slipway/apimachinery';

/** Where the traffic of a Service can go, for one address family. */
export interface EndpointSlice extends KubeObject {
  addressType: 'IPv4' | 'IPv6';
  endpoints: Endpoint[];
  /** A port without a name belongs to the Service's only port. */
  ports: { name: string; port: number; protocol: string }[];
}

export interface Endpoint {
  addresses: string[];
  conditions: { ready: boolean; serving: boolean; terminating: boolean };
  targetRef?: { kind: string; namespace: string; name: string; uid: string };
  nodeName?: string;
  /** Name of its own below that of a headless Service. */
  hostname?: string;
}

/** Label of a slice that names its Service. */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';

/** Port at which each node passes connections of pods on to the API server, at the address that is their router. */
export const API_RELAY_PORT = 6443;
