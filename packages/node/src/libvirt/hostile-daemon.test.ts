// A daemon that a guest has taken over may send anything: the agent must refuse it and live on.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fakeClock, fuzz, mutateBytes } from '@slipway/testkit';
import { expect, it } from 'vitest';
import { decodeEvent } from './domain-event.ts';
import { EVENT, HEADER_BYTES, MESSAGE_STATUS, MESSAGE_TYPE, PROGRAM } from './protocol.ts';
import { RpcConnection } from './rpc-connection.ts';
import { XdrReader, XdrWriter } from './xdr.ts';

function message(type: number, status: number, payload: Buffer, serial = 1): Buffer {
  const header = new XdrWriter()
    .uint(HEADER_BYTES + payload.length)
    .uint(PROGRAM.remote)
    .uint(1)
    .int(1)
    .int(type);
  return Buffer.concat([header.uint(serial).int(status).toBuffer(), payload]);
}

const ERROR_BODY = new XdrWriter().int(42).int(10).optionalString('no such domain').toBuffer();
const SAMPLES = [
  message(MESSAGE_TYPE.reply, MESSAGE_STATUS.ok, new XdrWriter().string('a name').uint(3).toBuffer()),
  message(MESSAGE_TYPE.reply, MESSAGE_STATUS.error, ERROR_BODY),
  message(MESSAGE_TYPE.event, MESSAGE_STATUS.ok, new XdrWriter().string('guest').int(5).toBuffer(), 0),
  message(MESSAGE_TYPE.stream, MESSAGE_STATUS.continue, Buffer.from('some bytes of a picture')),
];

async function answer(bytes: Buffer): Promise<'answered' | 'refused'> {
  const directory = mkdtempSync(join(tmpdir(), 'slipway-rpc-'));
  const path = join(directory, 's');
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end(bytes));
  });
  try {
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const readEvent = (_procedure: number, body: XdrReader): void => void body.string();
    const connection = await RpcConnection.open(path, readEvent);
    const outcome = await connection.call({ name: 'call', program: PROGRAM.remote, procedure: 1, maxStreamBytes: 1 << 20 }).then(
      () => 'answered' as const,
      () => 'refused' as const,
    );
    connection.close();
    await connection.closed;
    return outcome;
  } finally {
    server.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

it('refuses an error without a body instead of ending the process', async () => {
  expect(await answer(message(MESSAGE_TYPE.reply, MESSAGE_STATUS.error, Buffer.alloc(2)))).toBe('refused');
  expect(await answer(message(MESSAGE_TYPE.event, MESSAGE_STATUS.ok, Buffer.alloc(2), 0))).toBe('refused');
});

it('lives on whatever the daemon sends', async () => {
  await fuzz({
    name: 'libvirt messages',
    inputs: 60,
    make: (random) => mutateBytes(random, Buffer.concat([random.pick(SAMPLES), random.pick(SAMPLES)]), SAMPLES),
    run: answer,
  });
});

/** A daemon that answers the first call as told, and a connection to it whose time stands still. */
async function daemon(onData: (socket: Socket) => void, onEvent: () => void = () => undefined) {
  const directory = mkdtempSync(join(tmpdir(), 'slipway-rpc-'));
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.once('data', () => onData(socket));
  });
  await new Promise<void>((resolve) => server.listen(join(directory, 's'), resolve));
  const clock = fakeClock();
  const connection = await RpcConnection.open(join(directory, 's'), onEvent, clock);
  const close = async (): Promise<void> => {
    connection.close();
    for (const socket of sockets) socket.destroy();
    server.close();
    await connection.closed;
    rmSync(directory, { recursive: true, force: true });
  };
  return { clock, connection, close };
}

const call = { name: 'call', program: PROGRAM.remote, procedure: 1 };

it('reads a flood of events as slowly as its budget allows, and still answers', async () => {
  let events = 0;
  const total = 20_000;
  const event = message(MESSAGE_TYPE.event, MESSAGE_STATUS.ok, new XdrWriter().string('guest').int(5).toBuffer(), 0);
  const reply = message(MESSAGE_TYPE.reply, MESSAGE_STATUS.ok, Buffer.alloc(4));
  const { clock, connection, close } = await daemon(
    (socket) => socket.write(Buffer.concat([...Array.from({ length: total }, () => event), reply])),
    () => events++,
  );
  try {
    const answered = connection.call(call);
    await expect.poll(() => events).toBeGreaterThan(1_000);
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(events).toBeLessThan(2_100);
    let isAnswered = false;
    const done = answered.then(() => (isAnswered = true));
    while (!isAnswered) {
      clock.advance(1_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await done;
    expect(events).toBe(total);
  } finally {
    await close();
  }
});

it('gives a daemon up that asks without reading our answers', async () => {
  const ping = new XdrWriter().uint(HEADER_BYTES).uint(PROGRAM.keepalive).uint(1).int(1).int(MESSAGE_TYPE.event).uint(0).int(0);
  const pings = Buffer.concat(Array.from({ length: 10_000 }, () => ping.toBuffer()));
  const { clock, connection, close } = await daemon((socket) => {
    socket.pause();
    const flood = (): void => void (socket.destroyed || socket.write(pings, () => setImmediate(flood)));
    flood();
  });
  try {
    const refused = connection.call(call).catch((error: Error) => error.message);
    let reason: unknown;
    void refused.then((message) => (reason = message));
    while (reason === undefined) {
      clock.advance(10_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(reason).toMatch(/does not read/);
  } finally {
    await close();
  }
});

it('puts a long message together from tiny pieces', async () => {
  const long = message(MESSAGE_TYPE.reply, MESSAGE_STATUS.ok, new XdrWriter().string('x'.repeat(300_000)).toBuffer());
  const { connection, close } = await daemon((socket) => {
    const next = (offset: number): void => {
      if (offset < long.length) socket.write(long.subarray(offset, offset + 37), () => next(offset + 37));
    };
    next(0);
  });
  try {
    expect((await connection.call(call)).body.string()).toHaveLength(300_000);
  } finally {
    await close();
  }
});

it('decodes events of any bytes or refuses them', async () => {
  const domain = (): XdrWriter => new XdrWriter().int(7).string('default_vm').opaque(Buffer.alloc(16, 1)).int(1);
  const samples = [
    domain().int(5).int(2).toBuffer(),
    domain().toBuffer(),
    domain().string('ua-root').toBuffer(),
    domain().string('/disk').string('ua-root').int(1).string('enospc').toBuffer(),
  ];
  const procedures = Object.values(EVENT).map(({ procedure }) => procedure);
  await fuzz({
    name: 'libvirt events',
    inputs: 5000,
    make: (random) => ({
      procedure: random.chance(0.9) ? random.pick(procedures) : random.below(500),
      bytes: random.chance(0.3) ? random.pick(samples) : mutateBytes(random, random.pick(samples), samples),
    }),
    run({ procedure, bytes }) {
      try {
        const event = decodeEvent(procedure, new XdrReader(bytes));
        expect(event === undefined || typeof event.domain === 'string').toBe(true);
      } catch (error) {
        expect(String(error)).toMatch(/XDR/);
      }
    },
  });
});

it('reads XDR to its end and no further', async () => {
  const readers: readonly ((reader: XdrReader) => unknown)[] = [
    (reader) => reader.string(),
    (reader) => reader.optionalString(),
    (reader) => reader.array(() => reader.string()),
    (reader) => reader.array(() => reader.uhyper()),
    (reader) => reader.opaque(reader.uint()),
    (reader) => reader.double(),
  ];
  await fuzz({
    name: 'XDR',
    inputs: 3000,
    make: (random) => ({ bytes: mutateBytes(random, random.pick(SAMPLES)), order: random.bytes(8) }),
    run({ bytes, order }) {
      const reader = new XdrReader(bytes);
      try {
        for (const index of order) readers[index % readers.length]?.(reader);
      } catch (error) {
        expect(String(error)).toMatch(/XDR/);
      }
      expect(reader.remaining).toBeGreaterThanOrEqual(0);
    },
  });
});
