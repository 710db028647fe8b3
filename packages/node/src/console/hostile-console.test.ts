// What a guest writes costs no more than these bounds, whoever looks at it.
import { once } from 'node:events';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { fakeClock, fuzz } from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConsoleHub } from './console-hub.ts';
import { openConsoleLog, readConsoleLog } from './console-log.ts';
import { openForward, frameOf, splitFrames } from './port-forward.ts';
import { Scrollback } from './scrollback.ts';
import { MAX_BACKLOG, Viewer } from './viewer.ts';
import { VncSessions } from './vnc-sessions.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync('/tmp/sw-bad-con-');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

it('keeps the last output whatever its pieces', async () => {
  await fuzz({
    name: 'scrollback',
    inputs: 500,
    make: (random) => ({
      limit: 1 + random.below(64),
      pieces: Array.from({ length: random.below(20) }, () => random.bytes(100)),
    }),
    run({ limit, pieces }) {
      const scrollback = new Scrollback(limit);
      for (const piece of pieces) scrollback.append(piece);
      expect(scrollback.content().toString('hex')).toBe(Buffer.concat(pieces).subarray(-limit).toString('hex'));
    },
  });
});

it('gives a viewer every byte in order, however it reads', async () => {
  await fuzz({
    name: 'viewer',
    inputs: 200,
    make: (random) => Array.from({ length: random.below(60) }, () => ({ bytes: random.bytes(3000), reads: random.chance(0.3) })),
    async run(steps) {
      const viewer = new Viewer({ onType: (_bytes, done) => done(), onGone: () => undefined });
      const read: Buffer[] = [];
      const take = (): void => {
        for (let chunk: unknown = viewer.read(); chunk !== null; chunk = viewer.read()) read.push(chunk as Buffer); // bytes
      };
      for (const { bytes, reads } of steps) {
        viewer.offer(bytes);
        if (reads) take();
      }
      viewer.finish();
      for await (const chunk of viewer) read.push(chunk as Buffer); // bytes
      expect(Buffer.concat(read).equals(Buffer.concat(steps.map(({ bytes }) => bytes)))).toBe(true);
    },
  });
});

it('keeps a log within its bounds whatever is written, across restarts', async () => {
  await fuzz({
    name: 'console log',
    inputs: 60,
    make: (random) => Array.from({ length: random.below(40) }, () => ({ bytes: random.bytes(700), restart: random.chance(0.1) })),
    run(steps) {
      const file = join(dir, 'log');
      for (const part of ['', '.1', '.times', '.1.times']) rmSync(file + part, { force: true });
      let log = openConsoleLog(file, { limitBytes: 1000, now: () => 0 });
      for (const { bytes, restart } of steps) {
        log.append(bytes);
        if (!restart) continue;
        log.close();
        log = openConsoleLog(file, { limitBytes: 1000, now: () => 0 });
      }
      log.close();
      expect(statSync(file).size).toBeLessThanOrEqual(1000);
      const all = Buffer.concat(steps.map(({ bytes }) => bytes));
      const kept = readConsoleLog(file);
      expect(all.subarray(all.length - kept.length).equals(kept)).toBe(true);
      expect(kept.length).toBeGreaterThanOrEqual(Math.min(all.length, 300));
    },
  });
});

describe('a guest that floods its console', () => {
  let server: Server;
  const clock = fakeClock();
  let floods = 0;
  let hub: ConsoleHub;
  beforeEach(async () => {
    floods = 0;
    server = createServer();
    server.listen(join(dir, 'serial'));
    await once(server, 'listening');
    hub = new ConsoleHub({ socketPath: join(dir, 'serial'), clock, onFlood: () => floods++ });
  });
  afterEach(() => {
    hub.close();
    server.close();
  });
  const guest = async (): Promise<Socket> => {
    const connected = once(server, 'connection');
    hub.start();
    return (await connected)[0] as Socket; // a net server emits sockets
  };

  it('waits, is told once, and cuts off only the viewer that does not read', async () => {
    const qemu = await guest();
    const slow = hub.attach();
    const cut = new Promise<Error>((resolve) => slow.once('error', resolve));
    const fast = hub.attach();
    let seen = 0;
    fast.on('data', (chunk: Buffer) => (seen += chunk.length));
    const block = Buffer.alloc(1024 * 1024, 'x');
    const total = 12;
    let written = 0;
    for (let index = 0; index < total; index++) qemu.write(block, () => written++);
    // time stands still, so that no more than the burst and what the socket holds can pass
    for (let before = -1; before !== seen; ) {
      before = seen;
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(seen).toBeLessThan(6 * 1024 * 1024);
    expect(written).toBeLessThan(total);
    expect((await cut).message).toContain('does not read');
    expect(floods).toBe(1);
    await expect
      .poll(() => {
        clock.advance(1000);
        return seen;
      })
      .toBe(total * block.length);
    expect(floods).toBe(1);
    clock.advance(10 * 60_000);
  });

  it('serves a bounded number of viewers and says so', async () => {
    await guest();
    const viewers = Array.from({ length: 32 }, () => hub.attach());
    expect(() => hub.attach()).toThrow(expect.objectContaining({ code: 429 }));
    viewers[0]?.destroy();
    await once(viewers[0] ?? hub.attach(), 'close');
    expect(() => hub.attach()).not.toThrow();
  });

  it('ends a viewer that is behind after what it has not read yet', async () => {
    const qemu = await guest();
    const viewer = hub.attach();
    qemu.write(Buffer.alloc(MAX_BACKLOG / 2, 'y'));
    await expect.poll(() => viewer.readableLength).toBeGreaterThan(0);
    let length = 0;
    const ended = once(viewer, 'end');
    qemu.end();
    await once(qemu, 'close');
    hub.close();
    viewer.on('data', (chunk: Buffer) => (length += chunk.length));
    await ended;
    expect(length).toBe(MAX_BACKLOG / 2);
  });
});

describe('streams of a hostile guest', () => {
  it('lose datagrams that nobody reads instead of keeping them, and take none from others', async () => {
    const guest = createSocket('udp4');
    guest.bind(0, '127.0.0.1');
    await once(guest, 'listening');
    const stream = await openForward({ address: '127.0.0.1', port: guest.address().port, protocol: 'udp' });
    const asked = once(guest, 'message');
    stream.write(frameOf(Buffer.from('hello')));
    const [, from] = (await asked) as [Buffer, { port: number }];
    const stranger = createSocket('udp4');
    await new Promise((resolve) => stranger.send('mine', from.port, '127.0.0.1', resolve));
    const datagram = Buffer.alloc(1000, 'z');
    for (let index = 0; index < 3000; index++)
      await new Promise((resolve) => guest.send(datagram, from.port, '127.0.0.1', resolve));
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    await expect.poll(() => chunks.length).toBeGreaterThan(0);
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    const { datagrams } = splitFrames(Buffer.concat(chunks));
    expect(datagrams.length).toBeLessThan(1000);
    expect(new Set(datagrams.map(String))).toEqual(new Set([datagram.toString()]));
    stream.destroy();
    stranger.close();
    guest.close();
  });

  it('live through a display that breaks off, and never two at once', async () => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => sockets.push(socket)).listen(join(dir, 'vnc'));
    await once(server, 'listening');
    const sessions = new VncSessions(join(dir, 'vnc'));
    const both = await Promise.all([sessions.open(), sessions.open()]);
    expect(both.filter(({ destroyed }) => !destroyed)).toHaveLength(1);
    const [last] = both.filter(({ destroyed }) => !destroyed);
    // `once` would take the error for a failure of the test
    const closed = new Promise((resolve) => last?.once('close', resolve));
    last?.destroy(new Error('read ECONNRESET'));
    await closed;
    server.close();
  });
});
