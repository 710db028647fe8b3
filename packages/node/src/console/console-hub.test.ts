import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConsoleHub } from './console-hub.ts';

describe('ConsoleHub', () => {
  let dir: string;
  let server: Server;
  let hub: ConsoleHub;

  beforeEach(async () => {
    dir = mkdtempSync('/tmp/sw-console-');
    server = createServer();
    server.listen(join(dir, 'serial'));
    await once(server, 'listening');
    hub = new ConsoleHub({ socketPath: join(dir, 'serial'), scrollbackBytes: 8 });
  });
  afterEach(() => {
    hub.close();
    server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const guest = async (): Promise<Socket> => {
    const connected = once(server, 'connection');
    hub.start();
    return (await connected)[0] as Socket; // a net server emits sockets
  };
  const reader = (viewer: Duplex) => {
    let text = '';
    viewer.on('data', (chunk: Buffer) => (text += chunk.toString()));
    return { until: (expected: string) => expect.poll(() => text).toBe(expected) };
  };

  it('gives every viewer every byte, and a late one the last output first', async () => {
    const qemu = await guest();
    const early = reader(hub.attach());
    qemu.write('0123456789');
    await early.until('0123456789');
    const late = reader(hub.attach());
    await late.until('23456789');
    qemu.write('login: ');
    await early.until('0123456789login: ');
    await late.until('23456789login: ');
  });

  it('sends what any viewer types to the guest', async () => {
    const qemu = await guest();
    const typed = reader(qemu as unknown as Duplex);
    hub.attach().write('a');
    hub.attach().write('b');
    await typed.until('ab');
  });

  it('keeps the other viewers when one leaves, and comes back when QEMU closed the socket', async () => {
    const qemu = await guest();
    const leaving = hub.attach();
    const staying = reader(hub.attach());
    leaving.destroy();
    qemu.write('x');
    await staying.until('x');
    const reconnected = once(server, 'connection');
    qemu.destroy();
    const [again] = (await reconnected) as [Socket];
    again.write('y');
    await staying.until('xy');
  });

  it('ends the viewers when the guest is gone', async () => {
    await guest();
    const viewer = hub.attach();
    viewer.resume();
    const ended = once(viewer, 'end');
    hub.close();
    await ended;
  });
});
