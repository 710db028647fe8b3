import type { ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
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
  if (body === undefined || typeof body === 'string' || request.method === 'HEAD') {
    if (body !== undefined && typeof body !== 'string') body.destroy();
    out.end(typeof body === 'string' && request.method !== 'HEAD' ? body : undefined);
    return;
  }
  // a body that breaks off destroys the connection, so that nobody takes its part for the whole
  await pipeline(body, out);
}
