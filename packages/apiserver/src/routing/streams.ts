import { badRequest } from '@slipway/apimachinery';
import type { StreamAcceptor } from '@slipway/runtime';
import type { ApiRequest } from '../pipeline/request.ts';
import { openAudited } from '../pipeline/pipeline.ts';
import type { ServerContext } from '../pipeline/server-context.ts';
import { type SpdyAcceptor, openSpdyStream, openSubresourceStream } from '../subresources/streams.ts';
import { matchRoute, routeRequest } from './aggregated.ts';

/** Authenticates, authorizes, opens and records a WebSocket route. Throws StatusError before anything is upgraded. */
export function openStream(server: ServerContext, request: ApiRequest): Promise<StreamAcceptor> {
  return openAudited(server, request, async (call) => {
    const matched = matchRoute(server, call.info);
    if (matched === undefined) return openSubresourceStream(call);
    if (matched.route.connect === undefined) throw badRequest('this path does not speak WebSocket');
    return matched.route.connect(routeRequest(call, matched.rest, undefined));
  });
}

/** The same for clients that ask for SPDY/3.1. */
export function openSpdy(server: ServerContext, request: ApiRequest): Promise<SpdyAcceptor> {
  return openAudited(server, request, openSpdyStream);
}
