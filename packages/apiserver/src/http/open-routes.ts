import type { ServerResponse } from 'node:http';
import { Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { OpenRequest, OpenRoute } from '@slipway/runtime';

/** Answers a request by a route that stands outside of the API. Rejects when the answer could not be completed. */
export async function serveOpenRoute(
  route: OpenRoute,
  request: OpenRequest,
  response: ServerResponse | Http2ServerResponse,
): Promise<void> {
  const { status, headers, body } = await route.handle(request);
  // both HTTP versions share this part of their interfaces
  const out = response as ServerResponse;
  out.writeHead(status, { ...headers });
  if (!request.incoming.readableEnded) out.once('finish', () => leaveUnread(request.incoming));
  if (body === undefined || typeof body === 'string' || request.method === 'HEAD') {
    if (body !== undefined && typeof body !== 'string') body.destroy();
    out.end(typeof body === 'string' && request.method !== 'HEAD' ? body : undefined);
    return;
  }
  // a body that breaks off destroys the connection, so that nobody takes its part for the whole
  await pipeline(body, out);
}

/** How long a client may take to notice an answer that came before the end of its request. */
const LINGER_MS = 5_000;

/** Takes the rest of a body to nowhere for a moment: a connection that is closed at once can take the answer with it. */
function leaveUnread(incoming: Readable): void {
  if (incoming instanceof Http2ServerRequest) {
    incoming.stream.close();
    return;
  }
  const timer = setTimeout(() => incoming.destroy(), LINGER_MS).unref();
  incoming.once('close', () => clearTimeout(timer));
  incoming.once('end', () => clearTimeout(timer));
  incoming.removeAllListeners('readable');
  incoming.resume();
}
