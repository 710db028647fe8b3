import type { VirtualMachine } from '@slipway/api';
import { badRequest, isObject } from '@slipway/apimachinery';
import type { AggregatedRoute, RouteRequest, RouteResponse } from '@slipway/runtime';
import type { SubresourceDeps } from './deps.ts';
import { optionsOf } from './request-body.ts';

/** Routes that belong to no VM: version, health, and expansion of a VM that is not stored. */
export function platformRoutes(deps: SubresourceDeps): readonly AggregatedRoute[] {
  return [
    get('version', async () => ({ status: 200, body: deps.version })),
    get('healthz', (request) => health(deps, request)),
    get('guestfs', async () => ({
      status: 200,
      body: { registry: '', tag: '', digest: '', imagePrefix: '', gsImage: 'slipway/libguestfs-tools' },
    })),
    {
      resource: 'expand-vm-spec',
      namespaced: true,
      subresource: '',
      discoverable: true,
      methods: { PUT: (request) => expand(deps, request) },
    },
  ];
}

function get(resource: string, handle: (request: RouteRequest) => Promise<RouteResponse>): AggregatedRoute {
  return { resource, namespaced: false, subresource: '', discoverable: false, methods: { GET: handle } };
}

async function health({ client }: SubresourceDeps, { signal }: RouteRequest): Promise<RouteResponse> {
  try {
    const { body } = await client.raw({ method: 'GET', path: '/version', signal });
    return { status: 200, body: { apiserver: { connectivity: 'ok', version: body } } };
  } catch (error) {
    return {
      status: 500,
      body: { apiserver: { connectivity: 'failed', error: error instanceof Error ? error.message : String(error) } },
    };
  }
}

async function expand(deps: SubresourceDeps, request: RouteRequest): Promise<RouteResponse> {
  if (request.body === undefined) throw badRequest('empty request body');
  const body = optionsOf(request.body);
  if (!isVm(body)) throw badRequest('Object is not a valid VirtualMachine');
  const { namespace } = body.metadata;
  if (namespace !== undefined && namespace !== '' && namespace !== request.namespace)
    throw badRequest(`VM namespace must be empty or ${request.namespace}`);
  const vm = { ...body, metadata: { ...body.metadata, namespace: request.namespace } };
  return { status: 200, body: await deps.expandVm(vm, request.signal) };
}

/** Enough shape to expand; field-by-field validation is admission's when the result is stored. */
function isVm(body: object): body is VirtualMachine {
  const { kind, spec, metadata }: { kind?: unknown; spec?: unknown; metadata?: unknown } = body;
  return kind === 'VirtualMachine' && isObject(metadata) && isObject(spec) && isObject(spec['template']);
}
