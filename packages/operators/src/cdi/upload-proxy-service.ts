import { isIPv4 } from 'node:net';
import { type cdi, CDIKind, type Endpoints, EndpointsKind, type Service, ServiceKind } from '@slipway/api';
import { controllerReference, deepEqual } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { PlatformSettings } from '@slipway/runtime';
import { createOnce } from '../components/create-once.ts';

export const UPLOAD_PROXY = 'cdi-uploadproxy';
const LABELS = { app: 'containerized-data-importer', 'cdi.kubevirt.io': UPLOAD_PROXY, 'app.kubernetes.io/component': 'storage' };

/**
 * The Service that clients of CDI look for. There is no proxy pod: the API server answers uploads itself, so the
 * Service selects nothing and its endpoint is the API server, as far as that has an address others can reach.
 */
export function uploadProxyService(owner: cdi.CDI, namespace: string): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      ...{ name: UPLOAD_PROXY, namespace, labels: LABELS },
      ownerReferences: [controllerReference(owner, CDIKind)],
    },
    spec: { type: 'ClusterIP', ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: 8443 }] },
  };
}

/** Undefined when the API server listens on this machine alone: endpoints may not be loopback addresses. */
export function uploadProxyEndpoints(owner: cdi.CDI, namespace: string, apiUrl: string | undefined): Endpoints | undefined {
  const url = apiUrl === undefined ? undefined : new URL(apiUrl);
  if (url === undefined || !isIPv4(url.hostname) || url.hostname.startsWith('127.')) return undefined;
  const port = Number(url.port || '443');
  return {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: {
      ...{ name: UPLOAD_PROXY, namespace, labels: LABELS },
      ownerReferences: [controllerReference(owner, CDIKind)],
    },
    subsets: [{ addresses: [{ ip: url.hostname }], ports: [{ name: 'https', port, protocol: 'TCP' }] }],
  };
}

/** Makes the Service once, and keeps its endpoint where the API server is. */
export async function ensureUploadProxy(
  client: Client,
  owner: cdi.CDI,
  { installNamespace, apiUrl }: Pick<PlatformSettings, 'installNamespace' | 'apiUrl'>,
  signal: AbortSignal,
): Promise<void> {
  await createOnce(client, ServiceKind, uploadProxyService(owner, installNamespace), signal);
  const endpoints = uploadProxyEndpoints(owner, installNamespace, apiUrl);
  if (endpoints === undefined) return;
  await createOnce(client, EndpointsKind, endpoints, signal);
  const current = await client.get(EndpointsKind, { namespace: installNamespace, name: UPLOAD_PROXY }, { signal });
  if (!deepEqual(current.subsets, endpoints.subsets))
    await client.update(EndpointsKind, { ...current, subsets: endpoints.subsets ?? [] }, { signal });
}
