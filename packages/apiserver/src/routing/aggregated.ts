import { isObject, type ListMeta, type UnstructuredObject } from '@slipway/apimachinery';
import { type AggregatedRoute, isServed, type RouteRequest } from '@slipway/runtime';
import { decodeValue } from '../pipeline/decode-body.ts';
import { negotiate } from '../pipeline/negotiate.ts';
import { methodNotAllowed } from '../pipeline/resource-handler.ts';
import type { Answer, Call, ServerContext } from '../pipeline/server-context.ts';
import { tableOptions, withFormat } from '../pipeline/shape.ts';
import { printedColumns, tableOf } from '../table/table.ts';
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
  const table = status === 200 && call.request.method === 'GET' ? routeTable(call, matched.route, body) : undefined;
  if (table !== undefined) return table;
  if (contentType === undefined) return { status, ...(body !== undefined && { value: body }) };
  const headers = { 'content-type': contentType };
  return body instanceof Uint8Array
    ? { status, headers, bytes: body }
    : { status, headers, text: typeof body === 'string' ? body : '' };
}

/** What a route that declares columns answers with, as a Table for clients that ask for one. */
function routeTable(call: Call, { columns }: AggregatedRoute, body: unknown): Answer | undefined {
  if (columns === undefined || !isObject(body)) return undefined;
  const accepted = negotiate(call.request.headers['accept'], { isCustom: true, isCollection: call.info.name === '' });
  if (accepted.as !== 'Table') return undefined;
  const { items, metadata } = body as unknown as { items?: UnstructuredObject[]; metadata?: ListMeta }; // of our own routes
  const objects = items ?? [body as unknown as UnstructuredObject];
  const options = { ...tableOptions(call, accepted), resourceVersion: metadata?.resourceVersion ?? '' };
  const value = tableOf(
    { columns: printedColumns(columns) },
    objects.map((object) => ({ object })),
    options,
  );
  return withFormat({ status: 200, value }, accepted);
}
