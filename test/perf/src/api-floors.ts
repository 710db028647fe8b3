import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { runLoad } from './api-load.ts';
import type { ServerProcess } from './api-process.ts';
import { type WireConnection, openConnections } from './api-wire.ts';

/** Appends of 512 bytes that one writer can make durable in a second: no single client can be faster. */
export function measureSyncedAppends(ms: number): number {
  const directory = mkdtempSync('/tmp/sw-api-floor-');
  const file = openSync(join(directory, 'log'), 'w');
  const block = Buffer.alloc(512, 'x');
  const startedAt = performance.now();
  let count = 0;
  try {
    while (performance.now() - startedAt < ms) {
      writeSync(file, block);
      fdatasyncSync(file);
      count++;
    }
    return (count / (performance.now() - startedAt)) * 1000;
  } finally {
    closeSync(file);
    rmSync(directory, { recursive: true });
  }
}

const BARE_SERVER = `
import { createServer } from 'node:https';
import { readFileSync } from 'node:fs';
const [pki] = process.argv.slice(-1);
const read = (name) => readFileSync(pki + '/' + name);
const body = JSON.stringify({ text: 'x'.repeat(600) });
const headers = { 'content-type': 'application/json', 'content-length': String(body.length) };
const server = createServer({ key: read('serving.key'), cert: read('serving.crt') }, (request, response) => {
  response.writeHead(200, headers);
  response.end(body);
});
server.listen(0, '127.0.0.1', () => process.stdout.write(server.address().port + '\\n'));
`;

/** Answers a second that a node:https server gives which does nothing else, with the same load. */
export async function measureBareHttps({ tls, paths }: ServerProcess, clients: number, ms: number): Promise<number> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', BARE_SERVER, '--', paths.pki], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const [port] = (await once(child.stdout, 'data')) as [Buffer];
    const connections = await openConnections(clients, Number(port), tls);
    try {
      const { perSecond } = await runLoad(connections, { ms, count: 1_000_000 }, (connection) => connection.request('GET', '/'));
      return perSecond;
    } finally {
      for (const connection of connections) connection.close();
    }
  } finally {
    child.kill();
    await once(child, 'exit');
  }
}

const BROADCASTER = `
import { createServer } from 'node:tls';
import { readFileSync } from 'node:fs';
const [pki, receivers] = process.argv.slice(-2);
const read = (name) => readFileSync(pki + '/' + name);
const event = Buffer.alloc(700, 'x');
const sockets = new Set();
const server = createServer({ key: read('serving.key'), cert: read('serving.crt') }, (socket) => {
  socket.setNoDelay(true);
  sockets.add(socket);
  if (sockets.size === Number(receivers)) process.stdout.write('all');
  socket.on('error', () => socket.destroy());
  socket.on('close', () => sockets.delete(socket));
});
process.stdin.on('data', () => { for (const socket of sockets) socket.write(event); });
server.listen(0, '127.0.0.1', () => process.stdout.write(server.address().port + '\\n'));
`;

/** As `measureWatchDelivery`, from a process that does nothing but write the same bytes to each TLS connection. */
export async function measureBroadcast({ tls, paths }: ServerProcess, receivers: number, events: number): Promise<number[]> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', BROADCASTER, '--', paths.pki, String(receivers)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const connections: WireConnection[] = [];
  try {
    const [port] = (await once(child.stdout, 'data')) as [Buffer];
    const allConnected = once(child.stdout, 'data'); // a client has finished its handshake before the server has
    const latenciesMs: number[] = [];
    let sentAt = 0;
    let missing = 0;
    let everybodyHasIt = (): void => undefined;
    while (connections.length < receivers) {
      connections.push(...(await openConnections(Math.min(8, receivers - connections.length), Number(port), tls)));
    }
    await allConnected;
    for (const connection of connections) {
      connection.listen(() => {
        latenciesMs.push(performance.now() - sentAt);
        if (--missing === 0) everybodyHasIt();
      });
    }
    for (let event = 0; event < events; event++) {
      missing = receivers;
      const delivered = new Promise<void>((resolve) => (everybodyHasIt = resolve));
      sentAt = performance.now();
      child.stdin.write('.');
      await delivered;
    }
    return latenciesMs;
  } finally {
    for (const connection of connections) connection.close();
    child.kill();
    await once(child, 'exit');
  }
}
