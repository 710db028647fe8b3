import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { probeHttp, probeTcp } from './network-probes.ts';
import type { HttpProbe } from './probe-spec.ts';

const HERE = '127.0.0.1';
const never = new AbortController().signal;
const late = (): AbortSignal => AbortSignal.abort(new Error('no answer within 1 s'));
const listening = async (server: Server | HttpServer): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(0, HERE, resolve));
  return (server.address() as AddressInfo).port; // it listens on a port
};

describe('probes over the network', () => {
  let web: HttpServer;
  let mute: Server;
  let ports: { readonly web: number; readonly mute: number; readonly closed: number };
  const seen: (string | undefined)[] = [];

  beforeAll(async () => {
    web = createHttpServer((request, response) => {
      seen.push(`${request.url} ${request.headers.host} ${String(request.headers['x-probe'])}`);
      const redirects: Record<string, string> = { '/moved': '/ok', '/elsewhere': 'http://192.0.2.1/', '/loop': '/loop' };
      const location = redirects[request.url ?? ''];
      if (location !== undefined) response.writeHead(302, { location }).end();
      else response.writeHead(request.url === '/ok' ? 204 : 503).end('x'.repeat(100_000));
    });
    mute = createServer(() => {});
    const closed = createServer();
    ports = { web: await listening(web), mute: await listening(mute), closed: await listening(closed) };
    await new Promise((resolve) => closed.close(resolve));
  });
  afterAll(() => {
    web.closeAllConnections();
    web.close();
    mute.close();
  });

  const http = (fields: Partial<HttpProbe>): HttpProbe => ({
    ...{ type: 'httpGet', scheme: 'http', port: ports.web, path: '/', headers: [], ...fields },
  });

  it.each([
    ['/ok', true, ''],
    ['/moved', true, ''],
    ['/elsewhere', true, ''],
    ['/broken', false, 'HTTP probe failed with statuscode: 503'],
    ['broken', false, 'HTTP probe failed with statuscode: 503'],
    ['/loop', false, 'stopped after 10 redirects'],
  ])('a GET of %s', async (path, ok, message) => {
    const answer = await probeHttp(http({ path }), [HERE], never);
    expect(answer).toMatchObject({ ok });
    expect(answer.message).toContain(message);
  });

  it('sends the headers that are asked for', async () => {
    const headers = [
      { name: 'Host', value: 'shop.example' },
      { name: 'X-Probe', value: 'yes' },
    ];
    expect(await probeHttp(http({ path: '/ok', headers }), [HERE], never)).toMatchObject({ ok: true });
    expect(seen).toContain('/ok shop.example yes');
  });

  it('says what a header is like that cannot be sent', async () => {
    const answer = await probeHttp(http({ headers: [{ name: 'X-A', value: 'a\r\nb' }] }), [HERE], never);
    expect(answer).toMatchObject({ ok: false });
    expect(answer.message).toMatch(/Invalid character in header/);
  });

  it('connects', async () => {
    expect(await probeTcp({ type: 'tcpSocket', port: ports.mute }, [HERE], never)).toEqual({ ok: true, message: '' });
    const refused = await probeTcp({ type: 'tcpSocket', port: ports.closed }, [HERE], never);
    expect(refused).toMatchObject({ ok: false, message: expect.stringMatching(/^dial tcp 127\.0\.0\.1:\d+: .*ECONNREFUSED/) });
  });

  it('gives up in time', async () => {
    expect(await probeTcp({ type: 'tcpSocket', port: ports.mute }, [HERE], late())).toMatchObject({
      ...{ ok: false, message: expect.stringContaining('no answer within 1 s') },
    });
    const controller = new AbortController();
    mute.once('connection', () => controller.abort(new Error('no answer within 1 s')));
    expect(await probeHttp(http({ port: ports.mute }), [HERE], controller.signal)).toMatchObject({
      ...{ ok: false, message: expect.stringContaining('no answer within 1 s') },
    });
  });

  it.each([
    [{ host: '192.0.2.7' }, [HERE], 'is not an address of this guest'],
    [{ host: 'localhost' }, [HERE], 'is not an address of this guest'],
    [{ port: Number.NaN }, [HERE], 'no interface of the guest declares a port of this name'],
    [{}, [], 'no address on the pod network'],
  ])('reaches the guest alone: %j', async (fields, addresses, message) => {
    for (const answer of [
      await probeHttp(http(fields), addresses, never),
      await probeTcp({ type: 'tcpSocket', port: ports.web, ...fields }, addresses, never),
    ])
      expect(answer).toMatchObject({ ok: false, message: expect.stringContaining(message) });
  });
});
