// HTTP requests as a client written in Go sends them: nothing that our own client would add or leave out.
import { randomBytes } from 'node:crypto';
import { request as requestHttps } from 'node:https';

export interface RawRequest {
  readonly method: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly contentType?: string;
  /** Asks for an upgrade of the connection: to a WebSocket with these sub-protocols, or to SPDY. */
  readonly upgrade?: { readonly to: 'websocket'; readonly protocols: readonly string[] } | { readonly to: 'spdy' };
}

export interface RawAnswer {
  readonly code: number;
  /** JSON value, or text. */
  readonly body: unknown;
  /** Sub-protocol that the server chose. */
  readonly protocol: string | undefined;
}

/** User agent and accepted types of the client of KubeVirt 1.1. */
const GO_CLIENT = {
  'user-agent': 'virtctl/v1.1.0 (linux/amd64) kubevirt/d7a7bd5',
  accept: 'application/json, */*',
  'accept-encoding': 'gzip',
};

const SPDY = {
  connection: 'Upgrade',
  upgrade: 'SPDY/3.1',
  'x-stream-protocol-version': 'v4.channel.k8s.io, v3.channel.k8s.io, v2.channel.k8s.io, channel.k8s.io',
};

const webSocket = (protocols: readonly string[]) => ({
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': randomBytes(16).toString('base64'),
  ...(protocols.length > 0 && { 'sec-websocket-protocol': protocols.join(', ') }),
});

export type Ask = (request: RawRequest) => Promise<RawAnswer>;

/** Sends requests to one server as one user. */
export function rawClient({ url, ca, token }: { readonly url: string; readonly ca: string; readonly token: string }): Ask {
  return ({ method, path, query = {}, body, contentType = 'application/json', upgrade }) =>
    new Promise((resolve, reject) => {
      const search = new URLSearchParams(query).toString();
      const content = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
      const headers = {
        ...GO_CLIENT,
        authorization: `Bearer ${token}`,
        ...(content !== undefined && { 'content-type': contentType, 'content-length': String(content.length) }),
        ...(upgrade?.to === 'websocket' && webSocket(upgrade.protocols)),
        ...(upgrade?.to === 'spdy' && SPDY),
      };
      const request = requestHttps(`${url}${path}${search && `?${search}`}`, { method, ca, headers });
      request.once('error', reject);
      request.once('upgrade', (response, socket) => {
        socket.destroy();
        resolve({ code: response.statusCode ?? 0, body: undefined, protocol: response.headers['sec-websocket-protocol'] });
      });
      request.once('response', (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (piece: string) => (text += piece));
        response.on('error', reject);
        response.on('end', () => {
          const isJson = response.headers['content-type']?.includes('json') === true && text !== '';
          resolve({ code: response.statusCode ?? 0, body: isJson ? JSON.parse(text) : text, protocol: undefined });
        });
      });
      request.end(content);
    });
}
