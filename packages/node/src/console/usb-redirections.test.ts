import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UsbRedirections } from './usb-redirections.ts';

let directory: string;
const servers: Server[] = [];
const path = (slot: number): string => join(directory, `usb-${slot}`);

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'usb-'));
  for (const slot of [0, 1, 2, 3]) {
    const server = createServer((socket) => socket.write(`slot ${slot}`));
    server.listen(path(slot));
    await once(server, 'listening');
    servers.push(server);
  }
});
afterAll(() => {
  for (const server of servers) server.close();
  rmSync(directory, { recursive: true });
});

describe('USB redirections', () => {
  it('take the first port that is free, and no fifth', async () => {
    const usb = new UsbRedirections((slot) => createConnection(path(slot)));
    const streams = [await usb.open(), await usb.open(), await usb.open(), await usb.open()];
    const said = await Promise.all(streams.map(async (stream) => String((await once(stream, 'data'))[0])));
    expect(said).toEqual(['slot 0', 'slot 1', 'slot 2', 'slot 3']);
    expect(() => usb.open()).toThrow('All 4 USB redirections');
    const freed = once(streams[2] ?? streams[0]!, 'close');
    streams[2]?.destroy();
    await freed;
    expect(String((await once(await usb.open(), 'data'))[0])).toBe('slot 2');
    usb.close();
  });

  it('say when the guest has no such port', async () => {
    const usb = new UsbRedirections(() => createConnection(join(directory, 'nothing')));
    await expect(usb.open()).rejects.toThrow('The USB port of the guest cannot be reached');
    const never = new UsbRedirections(() => {
      throw new Error('no such file');
    });
    await expect(never.open()).rejects.toThrow('The USB port of the guest cannot be reached: no such file');
  });
});
