import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { type UnstructuredObject, isObject } from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';
import { resolveTarget } from '../admission/webhooks/webhook-target.ts';
import type { Registry } from '../registry/registry.ts';
import { serviceOf } from './plan-api-services.ts';

export interface BackendDeps {
  readonly registry: Registry;
  /** Shown to the backend, which believes our headers because of it. */
  readonly frontProxy: { readonly cert: string; readonly key: string } | undefined;
}

export interface BackendRequest {
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly user: UserInfo;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

/** Sends a request to the server behind an APIService. Rejects when no endpoint is there or it cannot be reached. */
export function callApiService(
  { registry, frontProxy }: BackendDeps,
  apiService: UnstructuredObject,
  request: BackendRequest,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const spec = isObject(apiService['spec']) ? apiService['spec'] : {};
  const service = serviceOf(apiService);
  const caBundle = typeof spec['caBundle'] === 'string' ? spec['caBundle'] : '';
  return new Promise((resolve, reject) => {
    const target = resolveTarget(registry, { ...(service && { service }), caBundle }, 0);
    const outgoing = httpsRequest(
      {
        method: request.method,
        host: target.address,
        port: target.port,
        path: request.path,
        headers: {
          ...request.headers,
          ...identityHeaders(request.user),
          ...(request.body !== undefined && { 'content-length': String(request.body.length) }),
          host: target.serverName ?? '',
        },
        servername: target.serverName ?? '',
        agent: false,
        rejectUnauthorized: spec['insecureSkipTLSVerify'] !== true,
        signal,
        ...(target.ca !== undefined && { ca: target.ca }),
        ...frontProxy,
      },
      resolve,
    );
    outgoing.on('error', reject);
    outgoing.end(request.body);
  });
}

function identityHeaders({ username, groups, extra, uid }: UserInfo): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = { 'x-remote-user': username, 'x-remote-group': [...groups] };
  if (uid) headers['x-remote-uid'] = uid;
  for (const [key, values] of Object.entries(extra ?? {})) headers[`x-remote-extra-${encodeURIComponent(key)}`] = [...values];
  return headers;
}
