import { silentLogger, systemClock } from '@slipway/runtime';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, it, vi } from 'vitest';
import { runApiRelay } from './api-relay.ts';

it('passes connections on both ways until it is stopped, and refuses them afterwards', async () => {
  const api = createServer({ allowHalfOpen: true }, (socket) => {
    let asked = '';
    socket.on('data', (data) => (asked += String(data)));
    socket.on('end', () => socket.end(`answer to ${asked}`));
  }).listen(0, '127.0.0.1');
  await once(api, 'listening');
  const spare = createServer().listen(0, '127.0.0.1');
  await once(spare, 'listening');
  const { port } = spare.address() as AddressInfo; // a TCP server has one
  await new Promise((resolve) => spare.close(resolve));
  const stop = new AbortController();
  const server = { host: '127.0.0.1', port: (api.address() as AddressInfo).port };
  const running = runApiRelay({ clock: systemClock, log: silentLogger, addresses: ['127.0.0.1'], port, server }, stop.signal);
  const ask = (question: string): Promise<string> => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.end(question);
    return text(socket);
  };
  await vi.waitFor(async () => expect(await ask('first')).toBe('answer to first'), 30_000);
  expect(await Promise.all([ask('a'), ask('b')])).toEqual(['answer to a', 'answer to b']);
  stop.abort();
  await running;
  await expect(ask('late')).rejects.toThrow('ECONNREFUSED');
  api.close();
});
