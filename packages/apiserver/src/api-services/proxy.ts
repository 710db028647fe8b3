import { request as httpsRequest } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { isObject } from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';
import { type WebhookTarget, resolveTarget } from '../admission/webhooks/webhook-target.ts';
import type { Answer, Call } from '../pipeline/server-context.ts';
import { isAvailable, serviceOf } from './plan-api-services.ts';

const TEXT = { 'content-type': 'text/plain; charset=utf-8' };
const unavailable = (): Answer => ({ status: 503, headers: TEXT, text: 'service unavailable\n' });
/** Headers that say who asks: the backend trusts them because of our certificate, so a client's own never pass. */
const IDENTITY = /^(?:x-remote-|impersonate-|authorization$|connection$|host$|upgrade$|content-length$|:)/;
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length']);

/** Passes a request for a group and version that another server answers. Undefined when it is for none. */
export function handleApiService(call: Call): Promise<Answer | undefined> | undefined {
  const { info, server } = call;
  // most requests are for groups of our own: they wait for nothing
  if (info.isResource && server.registry.hasGroup(info.group)) return undefined;
  const [root, group = '', version = ''] = call.request.path.split('/').filter((segment) => segment !== '');
  if (root !== 'apis' || version === '' || server.registry.hasGroup(group)) return undefined;
  return answerFromBackend(call, group, version);
}

async function answerFromBackend(call: Call, group: string, version: string): Promise<Answer | undefined> {
  const { registry } = call.server;
  const apiService = registry.lookup('apiregistration.k8s.io', 'apiservices', '', `${version}.${group}`);
  const service = apiService && serviceOf(apiService);
  if (apiService === undefined || service === undefined) return undefined;
  if (!isAvailable(apiService)) return unavailable();
  const spec = isObject(apiService['spec']) ? apiService['spec'] : {};
  const caBundle = typeof spec['caBundle'] === 'string' ? spec['caBundle'] : '';
  let target: WebhookTarget;
  try {
    target = resolveTarget(registry, { service, caBundle }, 0);
  } catch {
    return unavailable(); // the endpoints went since the last check
  }
  try {
    return await forward(call, target, spec['insecureSkipTLSVerify'] === true);
  } catch (error) {
    call.server.logError(error, `APIService ${version}.${group}`);
    return { status: 503, headers: TEXT, text: 'error trying to reach service\n' };
  }
}

function forward({ request, user, server }: Call, target: WebhookTarget, isInsecure: boolean): Promise<Answer> {
  const query = request.query.toString();
  const headers: Record<string, string | string[]> = { ...identityHeaders(user) };
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined && !IDENTITY.test(name)) headers[name] = value;
  }
  const body = request.body.type === 'bytes' ? request.body.bytes : undefined;
  if (body !== undefined) headers['content-length'] = String(body.length);
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(
      {
        method: request.method,
        host: target.address,
        port: target.port,
        path: `${request.path}${query === '' ? '' : `?${query}`}`,
        headers: { ...headers, host: target.serverName ?? '' },
        servername: target.serverName ?? '',
        agent: false,
        rejectUnauthorized: !isInsecure,
        signal: request.signal,
        ...(target.ca !== undefined && { ca: target.ca }),
        ...server.frontProxy,
      },
      (incoming) => resolve(answerOf(incoming)),
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function answerOf(incoming: IncomingMessage): Answer {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (value !== undefined && !HOP_BY_HOP.has(name)) headers[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return { status: incoming.statusCode ?? 502, headers, stream: incoming };
}

function identityHeaders({ username, groups, extra, uid }: UserInfo): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = { 'x-remote-user': username, 'x-remote-group': [...groups] };
  if (uid) headers['x-remote-uid'] = uid;
  for (const [key, values] of Object.entries(extra ?? {})) headers[`x-remote-extra-${encodeURIComponent(key)}`] = [...values];
  return headers;
}
