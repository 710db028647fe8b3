import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { ConfigMapKind, NamespaceKind } from '@slipway/api';
import { type HttpsServer, httpsServer } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../clock.ts';
import { Informer } from '../informer.ts';
import { silentLogger } from '../logger.ts';
import { type NodeHandlers, serveTunnel } from './tunnel-agent.ts';
import { createTunnelServer } from './tunnel-server.ts';

const NODE_GROUPS = ['system:nodes', 'system:authenticated'];
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp(handlers: NodeHandlers) {
  let tokens = 0;
  const tunnel = createTunnelServer({ clock: systemClock, log: silentLogger, token: () => `secret-${++tokens}` });
  const server: HttpsServer = await httpsServer({ aggregatedApis: [tunnel.api] });
  cleanups.push(() => server.close());
  const client = await server.clientAs('system:node:node1', NODE_GROUPS);
  const stop = new AbortController();
  await new Promise<void>((onConnected) => {
    const deps = { client, nodeName: 'node1', handlers, clock: systemClock, random: () => 0, log: silentLogger, onConnected };
    const running = serveTunnel(deps, stop.signal);
    cleanups.push(async () => {
      stop.abort();
      await running;
    });
  });
  return { tunnel, server };
}

const echo: NodeHandlers = {
  call: async ({ verb, params }) => ({ verb, ...params }),
  open: async () => new PassThrough(),
};

describe('over the HTTPS API server', () => {
  it('the node tunnel answers calls and carries streams', async () => {
    const { tunnel } = await setUp(echo);
    const { signal } = new AbortController();
    expect(await tunnel.call('node1', { verb: 'info', params: { a: 1 } }, signal)).toEqual({ verb: 'info', a: 1 });
    const stream = await tunnel.open('node1', { verb: 'console', params: {} }, signal);
    let received = 0;
    const reading = (async () => {
      for await (const chunk of stream) received += (chunk as Buffer).length;
    })();
    const block = Buffer.alloc(1 << 19);
    for (let index = 0; index < 8; index++) if (!stream.write(block)) await once(stream, 'drain');
    stream.end();
    await reading;
    expect(received).toBe(4 << 20);
  });

  it('the node tunnel is closed to everybody else, administrators included', async () => {
    const { server } = await setUp(echo);
    const request = { path: '/apis/node.slipway.dev/v1/nodes/node1/tunnel', protocols: ['v1.tunnel.slipway.dev'] };
    const admin = await server.clientAs('admin', ['system:masters']);
    const other = await server.clientAs('system:node:node2', NODE_GROUPS);
    await expect(admin.connect(request)).rejects.toMatchObject({ code: 403 });
    await expect(other.connect(request)).rejects.toMatchObject({ code: 403 });
  });

  it('an informer follows what is written', async () => {
    const { server } = await setUp(echo);
    const client = await server.clientAs('admin', ['system:masters']);
    await client.create(NamespaceKind, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'a' } });
    const informer = new Informer(ConfigMapKind, { client, clock: systemClock, random: Math.random, log: silentLogger });
    const stop = new AbortController();
    const running = informer.run(stop.signal);
    await informer.whenSynced();
    const seen: string[] = [];
    const deleted = new Promise<void>((resolve) => {
      informer.addHandler(({ type, object }) => {
        seen.push(`${type} ${object.metadata.name}`);
        if (type === 'deleted') resolve();
      });
    });
    const created = await client.create(ConfigMapKind, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'one', namespace: 'a' },
    });
    await client.update(ConfigMapKind, { ...created, data: { a: 'b' } });
    await client.delete(ConfigMapKind, { namespace: 'a', name: 'one' });
    await deleted;
    stop.abort();
    await running;
    expect(seen).toEqual(['added one', 'updated one', 'deleted one']);
  });
});
