import type { IncomingMessage } from 'node:http';
import { StatusError } from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';
import type { ApiRequest } from '../pipeline/request.ts';
import type { Answer, Call } from '../pipeline/server-context.ts';
import { type BackendRequest, callApiService } from './call-api-service.ts';
import { isAvailable, serviceOf } from './plan-api-services.ts';

const unreachable = (): StatusError =>
  new StatusError({ code: 503, reason: 'ServiceUnavailable', message: 'error trying to reach service' });
/** Kubernetes-compat: a backend that is known to be down is told in plain text. */
const UNAVAILABLE: Answer = {
  status: 503,
  headers: { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' },
  text: 'service unavailable\n',
};
/** Headers that say who asks: the backend trusts them because of our certificate, so a client's own never pass. */
const IDENTITY = /^(?:x-remote-|impersonate-|authorization$|connection$|host$|upgrade$|content-length$|:)/;
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length']);

/** Passes a request for a group and version that another server answers. Undefined when it is for none. Throws 503 when it cannot be reached. */
export function handleApiService(call: Call): Promise<Answer | undefined> | undefined {
  const { info, server } = call;
  // most requests are for groups of our own: they wait for nothing
  if (info.isResource && server.registry.hasGroup(info.group)) return undefined;
  const [root, group = '', version = ''] = call.request.path.split('/').filter((segment) => segment !== '');
  if (root !== 'apis' || version === '' || server.registry.hasGroup(group)) return undefined;
  return answerFromBackend(call, group, version);
}

async function answerFromBackend({ request, user, server }: Call, group: string, version: string): Promise<Answer | undefined> {
  const apiService = server.registry.lookup('apiregistration.k8s.io', 'apiservices', '', `${version}.${group}`);
  if (apiService === undefined || serviceOf(apiService) === undefined) return undefined;
  if (!isAvailable(apiService)) return UNAVAILABLE;
  try {
    const incoming = await callApiService(server, apiService, backendRequest(request, user), request.signal);
    return answerOf(incoming);
  } catch (error) {
    server.logError(error, `APIService ${version}.${group}`);
    throw unreachable();
  }
}

function backendRequest({ method, path, query, headers, body }: ApiRequest, user: UserInfo): BackendRequest {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !IDENTITY.test(name)) passed[name] = value;
  }
  const search = query.toString();
  return {
    method,
    path: `${path}${search === '' ? '' : `?${search}`}`,
    user,
    headers: passed,
    ...(body.type === 'bytes' && { body: body.bytes }),
    ...(body.type === 'value' && { body: Buffer.from(JSON.stringify(body.value)) }),
  };
}

function answerOf(incoming: IncomingMessage): Answer {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (value !== undefined && !HOP_BY_HOP.has(name)) headers[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return { status: incoming.statusCode ?? 502, headers, stream: incoming };
}
