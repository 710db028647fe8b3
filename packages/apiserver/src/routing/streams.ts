import { badRequest } from '@slipway/apimachinery';
import type { ApiRequest } from '../pipeline/request.ts';
import { openAudited } from '../pipeline/pipeline.ts';
import type { Call, ServerContext } from '../pipeline/server-context.ts';
import { PROTOBUF_TYPE } from '../protobuf/decode.ts';
import { logAcceptor, watchAcceptor } from '../streaming/answer-stream.ts';
import type { TextStreamAcceptor } from '../streaming/text-stream.ts';
import { type SpdyAcceptor, openSpdyStream, openSubresourceStream } from '../subresources/streams.ts';
import { matchRoute, routeRequest } from './aggregated.ts';
import { dispatch } from './dispatch.ts';
import type { RequestInfo } from './request-info.ts';

/** Authenticates, authorizes, opens and records a WebSocket route. Throws StatusError before anything is upgraded. */
export function openStream(server: ServerContext, request: ApiRequest): Promise<TextStreamAcceptor> {
  return openAudited(server, request, async (call): Promise<TextStreamAcceptor> => {
    const matched = matchRoute(server, call.info);
    if (matched === undefined) return isAnswered(call.info) ? answerAcceptor(call) : openSubresourceStream(call);
    if (matched.route.connect === undefined) throw badRequest('this path does not speak WebSocket');
    return matched.route.connect(routeRequest(call, matched.rest, undefined));
  });
}

/** Watches and logs: ordinary answers that some clients, browsers above all, would rather have as messages. */
const isAnswered = ({ verb, group, resource, subresource }: RequestInfo): boolean =>
  verb === 'watch' || (verb === 'get' && group === '' && resource === 'pods' && subresource === 'log');

async function answerAcceptor(call: Call): Promise<TextStreamAcceptor> {
  const answer = await dispatch(call);
  if (answer.watch === undefined) return logAcceptor(answer);
  return watchAcceptor(answer.watch, answer.headers?.['content-type']?.startsWith(PROTOBUF_TYPE) === true);
}

/** The same for clients that ask for SPDY/3.1. */
export function openSpdy(server: ServerContext, request: ApiRequest): Promise<SpdyAcceptor> {
  return openAudited(server, request, openSpdyStream);
}
