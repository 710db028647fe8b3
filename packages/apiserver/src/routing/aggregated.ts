import { type AggregatedRoute, isServed, type RouteRequest } from '@slipway/runtime';
import { decodeValue } from '../pipeline/decode-body.ts';
import { methodNotAllowed } from '../pipeline/resource-handler.ts';
import type { Answer, Call, ServerContext } from '../pipeline/server-context.ts';
import type { RequestInfo } from './request-info.ts';

export interface MatchedRoute {
  readonly route: AggregatedRoute;
  readonly rest: readonly string[];
}

/** The route of an aggregated API a request is for, with the path segments that follow the subresource. */
export function matchRoute(server: ServerContext, info: RequestInfo): MatchedRoute | undefined {
  const api = server.aggregatedApis.find(({ group, versions }) => group === info.group && versions.includes(info.version));
  if (api === undefined || !isServed(api)) return undefined;
  const fits = api.routes.flatMap((route) => {
    const rest = restOf(route, info);
    return rest === undefined ? [] : [{ route, rest }];
  });
  return fits.sort((a, b) => a.rest.length - b.rest.length)[0]; // the longest subresource wins
}

function restOf(route: AggregatedRoute, info: RequestInfo): string[] | undefined {
  if (route.resource !== info.resource || route.namespaced !== (info.namespace !== '')) return undefined;
  if (info.subresource === route.subresource) return [];
  if (!route.allowsRest) return undefined;
  if (route.subresource === '') return info.subresource.split('/');
  return info.subresource.startsWith(`${route.subresource}/`)
    ? info.subresource.slice(route.subresource.length + 1).split('/')
    : undefined;
}

/** What authorization sees: the subresource of the route, without what follows it. */
export function authorizedInfo(server: ServerContext, info: RequestInfo): RequestInfo {
  const matched = info.isResource ? matchRoute(server, info) : undefined;
  return matched === undefined ? info : { ...info, subresource: matched.route.subresource };
}

export function routeRequest(call: Call, rest: readonly string[], body: unknown): RouteRequest {
  const { info, request, user } = call;
  return {
    user,
    method: request.method,
    version: info.version,
    namespace: info.namespace,
    name: info.name,
    rest,
    query: request.query,
    body,
    signal: request.signal,
  };
}

/** Answers a request for an aggregated API; undefined when it is for none. */
export function handleAggregated(call: Call): Promise<Answer> | undefined {
  const matched = matchRoute(call.server, call.info);
  return matched === undefined ? undefined : answerRoute(call, matched);
}

async function answerRoute(call: Call, matched: MatchedRoute): Promise<Answer> {
  const handler = matched.route.methods[call.request.method];
  if (handler === undefined) throw methodNotAllowed();
  const { status, body, contentType } = await handler(routeRequest(call, matched.rest, decodeValue(call.request)));
  if (contentType === undefined) return { status, ...(body !== undefined && { value: body }) };
  const headers = { 'content-type': contentType };
  return body instanceof Uint8Array
    ? { status, headers, bytes: body }
    : { status, headers, text: typeof body === 'string' ? body : '' };
}
