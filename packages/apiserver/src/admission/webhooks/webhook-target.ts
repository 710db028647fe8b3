import { isObject } from '@slipway/apimachinery';
import type { Registry } from '../../registry/registry.ts';
import type { WebhookClientConfig } from './call-webhook.ts';

export interface ServiceReference {
  readonly namespace: string;
  readonly name: string;
  readonly path?: string;
  readonly port?: number;
}

/** Where a review goes. */
export interface WebhookTarget {
  readonly url: string;
  readonly ca?: string;
  /** Set for Services: the endpoint to connect to, while the URL keeps the name the certificate is made for. */
  readonly address?: string;
  readonly port?: number;
  readonly serverName?: string;
}

/** The endpoint of a client configuration. Throws an Error whose message clients are shown. */
export function resolveTarget(registry: Registry, config: WebhookClientConfig, timeoutSeconds: number): WebhookTarget {
  const ca = config.caBundle ? { ca: Buffer.from(config.caBundle, 'base64').toString('utf8') } : {};
  if (config.url !== undefined) {
    const url = new URL(config.url);
    url.searchParams.set('timeout', `${timeoutSeconds}s`);
    return { url: url.toString(), ...ca };
  }
  const { service } = config;
  if (service === undefined) throw new Error('failed to call webhook: neither a url nor a service is configured');
  const { namespace, name, path = '/', port = 443 } = service;
  const host = `${name}.${namespace}.svc`;
  const url = `https://${host}:${port}${path.startsWith('/') ? path : `/${path}`}?timeout=${timeoutSeconds}s`;
  const object = registry.lookup('', 'services', namespace, name);
  if (object === undefined)
    throw new Error(`failed to call webhook: Post ${JSON.stringify(url)}: service ${JSON.stringify(name)} not found`);
  const endpoint = endpointOf(registry, namespace, name, portName(object['spec'], port));
  if (endpoint === undefined) {
    throw new Error(
      `failed to call webhook: Post ${JSON.stringify(url)}: no endpoints available for service ${JSON.stringify(name)}`,
    );
  }
  return { url, ...ca, ...endpoint, serverName: host };
}

interface PortLike {
  readonly name?: string;
  readonly port?: number;
}

function portName(spec: unknown, wanted: number): string | undefined {
  const ports = isObject(spec) && Array.isArray(spec['ports']) ? (spec['ports'] as PortLike[]) : []; // validated on write
  return ports.find(({ port }) => port === wanted)?.name;
}

interface SubsetLike {
  readonly addresses?: readonly { readonly ip: string }[];
  readonly ports?: readonly { readonly name?: string; readonly port: number }[];
}

interface SliceLike {
  readonly endpoints?: readonly { readonly addresses: readonly string[]; readonly conditions?: { readonly ready?: boolean } }[];
  readonly ports?: readonly { readonly name?: string; readonly port?: number }[];
}

interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** A ready endpoint from the Service's Endpoints object or its slices. */
function endpointOf(registry: Registry, namespace: string, name: string, port: string | undefined): Endpoint | undefined {
  return fromEndpoints(registry, namespace, name, port) ?? fromSlices(registry, namespace, name, port);
}

const fitsPort = (candidate: { readonly name?: string }, port: string | undefined): boolean =>
  (candidate.name ?? '') === (port ?? '');

function fromEndpoints(registry: Registry, namespace: string, name: string, port: string | undefined): Endpoint | undefined {
  const endpoints = registry.lookup('', 'endpoints', namespace, name);
  const subsets = Array.isArray(endpoints?.['subsets']) ? (endpoints['subsets'] as SubsetLike[]) : []; // validated on write
  for (const { addresses = [], ports = [] } of subsets) {
    const number = (ports.find((candidate) => fitsPort(candidate, port)) ?? (ports.length === 1 ? ports[0] : undefined))?.port;
    if (addresses[0] !== undefined && number !== undefined) return { address: addresses[0].ip, port: number };
  }
  return undefined;
}

function fromSlices(registry: Registry, namespace: string, name: string, port: string | undefined): Endpoint | undefined {
  for (const slice of registry.lookupAll('discovery.k8s.io', 'endpointslices', namespace)) {
    if (slice.metadata.labels?.['kubernetes.io/service-name'] !== name) continue;
    const { endpoints: found = [], ports = [] } = slice as unknown as SliceLike; // validated on write
    const ready = found.find(({ conditions }) => conditions?.ready !== false);
    const number = ports.find((candidate) => fitsPort(candidate, port))?.port;
    if (ready?.addresses[0] !== undefined && number !== undefined) return { address: ready.addresses[0], port: number };
  }
  return undefined;
}
