import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import { StatusError } from '@slipway/apimachinery';
import { createHttpClient, webSocketStream } from '@slipway/client';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { systemClock } from '../clock.ts';
import { silentLogger } from '../logger.ts';
import { type NodeHandlers, serveTunnel } from './tunnel-agent.ts';
import { createTunnelServer } from './tunnel-server.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** An HTTP server that does for the tunnel's routes what the API server does: identify, route, upgrade. */
async function setUp(handlers: Partial<NodeHandlers>, nodeName = 'node1') {
  let tokens = 0;
  const tunnel = createTunnelServer({ clock: systemClock, log: silentLogger, token: () => `secret-${++tokens}` });
  const sockets = new WebSocketServer({ noServer: true });
  const server = createServer();
  server.on('upgrade', (request, socket, head) => {
    const [, , , , , name = '', subresource = '', ...rest] = (request.url ?? '').split('/');
    const route = tunnel.api.routes.find((candidate) => candidate.subresource === subresource);
    const username = request.headers.authorization?.slice('Bearer '.length) ?? '';
    const routed = { user: { username, groups: [] }, name, rest } as unknown as Parameters<
      NonNullable<typeof route>['connect'] & object
    >[0];
    (route?.connect?.(routed) ?? Promise.reject(new Error('no route'))).then(
      (acceptor) => sockets.handleUpgrade(request, socket, head, (peer) => void acceptor.run(webSocketStream(peer))),
      (error: unknown) => {
        const status = error instanceof StatusError ? error.status : { kind: 'Status', code: 500 };
        const body = JSON.stringify(status);
        socket.end(`HTTP/1.1 ${status.code} Refused\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
      },
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const clientAs = (user: string) => createHttpClient({ server: url, credentials: () => Promise.resolve({ token: user }) });
  const stop = new AbortController();
  const connected = new Promise<void>((resolve) => {
    const client = clientAs(`system:node:${nodeName}`);
    const none = (): never => {
      throw new Error('not handled');
    };
    const deps = { client, nodeName, clock: systemClock, random: () => 0, log: silentLogger, onConnected: resolve };
    const running = serveTunnel({ ...deps, handlers: { call: none, open: none, ...handlers } }, stop.signal);
    cleanups.push(
      () => server.close(),
      async () => {
        stop.abort();
        await running;
      },
    );
  });
  await connected;
  return { tunnel, clientAs, server };
}

const { signal } = new AbortController();

async function textOf(stream: Duplex): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  return text;
}

describe('node tunnel', () => {
  it('answers calls and carries refusals', async () => {
    const { tunnel } = await setUp({
      call: async ({ verb, params }) => {
        if (verb === 'refuse') throw new StatusError({ code: 409, reason: 'Conflict', message: 'not running' });
        return { verb, params };
      },
    });
    await expect(tunnel.call('node1', { verb: 'info', params: { vmi: 'a/b' } }, signal)).resolves.toEqual({
      verb: 'info',
      params: { vmi: 'a/b' },
    });
    await expect(tunnel.call('node1', { verb: 'refuse', params: {} }, signal)).rejects.toMatchObject({
      code: 409,
      message: 'not running',
    });
    await expect(tunnel.call('node2', { verb: 'info', params: {} }, signal)).rejects.toMatchObject({ code: 503 });
  });

  it('carries megabytes both ways and closes each direction by itself', async () => {
    const { tunnel } = await setUp({ open: async () => new PassThrough() });
    const stream = await tunnel.open('node1', { verb: 'echo', params: {} }, signal);
    const block = Buffer.alloc(1 << 20, 'x');
    const received = textOf(stream);
    for (let index = 0; index < 8; index++) if (!stream.write(block)) await once(stream, 'drain');
    stream.end();
    expect((await received).length).toBe(8 << 20);
  });

  it('stops the source when nobody reads', async () => {
    let produced = 0;
    const endless = new Duplex({
      read() {
        produced += 65_536;
        setImmediate(() => this.push(Buffer.alloc(65_536)));
      },
      write: (_chunk, _encoding, callback) => callback(),
    });
    const { tunnel } = await setUp({ open: async () => endless });
    const stream = await tunnel.open('node1', { verb: 'log', params: {} }, signal);
    let before = -1;
    while (before !== produced) {
      before = produced;
      // a source that is not held back produces in every turn of the event loop
      for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(produced).toBeLessThan(32 << 20);
    // the source is destroyed with the reason, which `once` would take for a failure of the test
    const closed = new Promise((resolve) => endless.on('error', () => {}).once('close', resolve));
    stream.destroy();
    await closed;
  });

  it('ends the other side when one is cut', async () => {
    const local = new PassThrough();
    const { tunnel } = await setUp({ open: async () => local });
    const stream = await tunnel.open('node1', { verb: 'console', params: {} }, signal);
    stream.destroy();
    await once(local, 'close');
    expect(local.destroyed).toBe(true);
  });

  it('lives on when a guest breaks a stream off before it is connected', async () => {
    const local = new PassThrough();
    const { tunnel } = await setUp({
      open: async () => {
        setImmediate(() => local.destroy(new Error('read ECONNRESET')));
        return local;
      },
      call: async () => 'alive',
    });
    const stream = await tunnel.open('node1', { verb: 'portforward', params: {} }, signal);
    await expect(textOf(stream)).resolves.toBe('');
    await expect(tunnel.call('node1', { verb: 'info', params: {} }, signal)).resolves.toBe('alive');
  });

  it('carries the refusal of a stream', async () => {
    const { tunnel } = await setUp({
      open: async () => {
        throw new StatusError({ code: 404, reason: 'NotFound', message: 'no serial console' });
      },
    });
    await expect(tunnel.open('node1', { verb: 'console', params: {} }, signal)).rejects.toMatchObject({
      code: 404,
      message: 'no serial console',
    });
  });

  it('tells the agent when the asker lost interest', async () => {
    const asked = deferred();
    const { tunnel } = await setUp({
      call: (_, interest) =>
        new Promise((_resolve, reject) => {
          interest.addEventListener('abort', () => {
            asked.resolve();
            reject(new Error('cancelled'));
          });
        }),
    });
    const stop = new AbortController();
    const call = tunnel.call('node1', { verb: 'slow', params: {} }, stop.signal);
    stop.abort(new Error('gone'));
    await expect(call).rejects.toThrow('gone');
    await asked.promise;
  });

  it('admits nobody but the agent of that node, and only to streams that were asked of it', async () => {
    const opened = deferred();
    const { tunnel, clientAs } = await setUp({
      open: async (_, interest) => {
        opened.resolve();
        await new Promise((resolve) => interest.addEventListener('abort', resolve, { once: true }));
        throw new Error('gone');
      },
    });
    const dial = (user: string, node: string, rest: string) => {
      const path = `/apis/node.slipway.dev/v1/nodes/${node}/${rest}`;
      return clientAs(user).connect({ path, protocols: ['v1.tunnel.slipway.dev'] });
    };
    const stop = new AbortController();
    const open = tunnel.open('node1', { verb: 'console', params: {} }, stop.signal);
    await opened.promise;
    await expect(dial('system:node:node2', 'node1', 'tunnel')).rejects.toMatchObject({ code: 403 });
    await expect(dial('admin', 'node1', 'tunnel')).rejects.toMatchObject({ code: 403 });
    await expect(dial('system:node:node2', 'node2', 'streams/secret-1')).rejects.toMatchObject({ code: 404 });
    await expect(dial('system:node:node2', 'node1', 'streams/secret-1')).rejects.toMatchObject({ code: 403 });
    await expect(dial('system:node:node1', 'node1', 'streams/guess')).rejects.toMatchObject({ code: 404 });
    stop.abort(new Error('enough'));
    await expect(open).rejects.toThrow('enough');
  });

  it('fails what was asked when the node goes away', async () => {
    const { tunnel } = await setUp({ call: () => new Promise(() => {}) });
    const call = tunnel.call('node1', { verb: 'slow', params: {} }, signal);
    const stop = cleanups.pop();
    await Promise.all([expect(call).rejects.toMatchObject({ code: 503 }), stop?.()]);
    expect(tunnel.isConnected('node1')).toBe(false);
  });
});

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
