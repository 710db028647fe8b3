import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { KubeObject, ResourceKind, WatchEvent } from '@slipway/apimachinery';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { createHttpClient } from './http-client.ts';
import { webSocketStream } from './web-socket.ts';

const WidgetKind: ResourceKind<KubeObject> = {
  group: 'x.io',
  version: 'v1',
  kind: 'Widget',
  plural: 'widgets',
  namespaced: true,
};
const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

interface Seen {
  method: string | undefined;
  url: string | undefined;
  headers: IncomingMessage['headers'];
  body: string;
}

/** Serves the n-th request with the n-th handler (the last one again and again). */
async function serve(...handlers: ((request: IncomingMessage, response: ServerResponse) => void)[]) {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const handler = handlers[Math.min(seen.length, handlers.length - 1)];
      const { method, url, headers } = request;
      seen.push({ method, url, headers, body: Buffer.concat(chunks).toString() });
      handler?.(request, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const client = createHttpClient({
    server: `http://127.0.0.1:${port}/base`,
    credentials: () => Promise.resolve({ token: 't0ken' }),
    fieldManager: 'tests',
  });
  cleanups.push(
    () => client.close(),
    () => new Promise((resolve) => server.close(() => resolve())),
    () => server.closeAllConnections(),
  );
  return { client, seen, server };
}

const answer =
  (code: number, body: unknown, headers: Record<string, string> = {}) =>
  (_: IncomingMessage, response: ServerResponse) => {
    response.writeHead(code, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(body));
  };

const web = { apiVersion: 'x.io/v1', kind: 'Widget', metadata: { name: 'web', namespace: 'a' } };

describe('createHttpClient', () => {
  it('addresses objects beneath the path of the server and says who it is', async () => {
    const { client, seen } = await serve(answer(200, web));
    await client.patch(
      WidgetKind,
      { namespace: 'a', name: 'web' },
      { metadata: {} },
      { type: 'apply', force: true, subresource: 'status' },
    );
    expect(seen[0]).toMatchObject({
      method: 'PATCH',
      url: '/base/apis/x.io/v1/namespaces/a/widgets/web/status?fieldManager=tests&force=true',
      headers: { authorization: 'Bearer t0ken', 'content-type': 'application/apply-patch+yaml' },
    });
  });

  it('throws the Status of a refusal', async () => {
    const status = {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      code: 404,
      reason: 'NotFound',
      message: 'gone',
    };
    const { client } = await serve(answer(404, status));
    await expect(client.get(WidgetKind, { namespace: 'a', name: 'web' })).rejects.toMatchObject({
      code: 404,
      reason: 'NotFound',
      message: 'gone',
    });
  });

  it('makes a Status of an answer that a proxy gave', async () => {
    const { client } = await serve((_, response) => response.writeHead(502).end('bad gateway'));
    await expect(client.get(WidgetKind, { namespace: 'a', name: 'web' })).rejects.toMatchObject({
      code: 502,
      message: 'bad gateway',
    });
  });

  it('waits as the server asks and sends the same request again', async () => {
    const { client, seen } = await serve(
      answer(429, {}, { 'retry-after': '0' }),
      answer(503, {}, { 'retry-after': '0' }),
      answer(201, web),
    );
    await expect(client.create(WidgetKind, web)).resolves.toEqual(web);
    expect(seen.map(({ method, body }) => [method, body])).toEqual(Array(3).fill(['POST', JSON.stringify(web)]));
  });

  it('does not repeat a refusal without Retry-After', async () => {
    const { client, seen } = await serve(answer(503, { kind: 'Status', message: 'down' }));
    await expect(client.create(WidgetKind, web)).rejects.toMatchObject({ code: 503 });
    expect(seen).toHaveLength(1);
  });

  it('streams watch events, also those that are cut within a character', async () => {
    const event = JSON.stringify({ type: 'ADDED', object: { ...web, spec: 'grün' } });
    const bytes = Buffer.from(`${event}\n${event}\n`);
    const cut = bytes.indexOf('ü') + 1;
    const { client, seen } = await serve((_, response) => {
      response.write(bytes.subarray(0, cut));
      setImmediate(() => response.end(bytes.subarray(cut)));
    });
    const events: WatchEvent<KubeObject>[] = [];
    for await (const received of client.watch(WidgetKind, { resourceVersion: '7', allowWatchBookmarks: true }))
      events.push(received);
    expect(events).toEqual([JSON.parse(event), JSON.parse(event)]);
    expect(seen[0]?.url).toBe('/base/apis/x.io/v1/widgets?resourceVersion=7&watch=true&allowWatchBookmarks=true');
  });

  it('ends a watch when its signal is aborted', async () => {
    const { client } = await serve((_, response) => void response.write(`${JSON.stringify({ type: 'ADDED', object: web })}\n`));
    const stop = new AbortController();
    const watching = (async () => {
      for await (const _ of client.watch(WidgetKind, { signal: stop.signal })) stop.abort(new Error('enough'));
    })();
    await expect(watching).rejects.toThrow('enough');
  });

  it('opens WebSockets with the credentials and carries bytes both ways', async () => {
    const { client, server } = await serve(answer(404, {}));
    const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => 'plain.kubevirt.io' });
    let authorization: string | undefined;
    server.on('upgrade', (request, socket, head) => {
      authorization = request.headers.authorization;
      sockets.handleUpgrade(request, socket, head, (peer) => {
        const stream = webSocketStream(peer);
        void (async () => {
          for await (const message of stream.messages) await stream.send(message);
        })();
      });
    });
    const stream = await client.connect({ path: '/console', protocols: ['plain.kubevirt.io'] });
    await stream.send(new Uint8Array(300_000).fill(7));
    await stream.send(Buffer.from('end'));
    const sizes: number[] = [];
    for await (const message of stream.messages) {
      sizes.push(message.byteLength);
      if (message.byteLength === 3) stream.close();
    }
    expect(sizes).toEqual([300_000, 3]);
    expect(stream.protocol).toBe('plain.kubevirt.io');
    expect(authorization).toBe('Bearer t0ken');
  });

  it('turns a refused upgrade into its Status', async () => {
    const { client, server } = await serve(answer(200, {}));
    server.on('upgrade', (_, socket) => {
      const body = JSON.stringify({ kind: 'Status', code: 409, reason: 'Conflict', message: 'VMI is not running' });
      socket.end(`HTTP/1.1 409 Conflict\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    });
    await expect(client.connect({ path: '/vnc', protocols: [] })).rejects.toMatchObject({
      code: 409,
      message: 'VMI is not running',
    });
  });
});
