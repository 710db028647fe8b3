import { once } from 'node:events';
import { Duplex, PassThrough } from 'node:stream';
import { deflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { askUpdate, clientStream, setEncodings } from './client-stream.ts';
import { DisplaySession } from './display-session.ts';
import { Encoding, newDisplay } from './display-state.ts';
import { Framer } from './framer.ts';
import { serverStream } from './server-stream.ts';
import { filling, resizing } from './take-over.ts';

// 32 bits, depth 24, little-endian, true colour, eight bits each
const FORMAT_32 = Buffer.from([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);
const FORMAT_8 = Buffer.from([8, 8, 0, 1, 0, 7, 0, 7, 0, 3, 0, 3, 6, 0, 0, 0]);
const number16 = (...values: number[]): Buffer => Buffer.concat(values.map((value) => Buffer.from([value >> 8, value & 255])));
const number32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};
const rect = (width: number, height: number, encoding: number, ...parts: readonly (readonly number[] | Uint8Array)[]): Buffer =>
  Buffer.concat([number16(0, 0, width, height), number32(encoding), ...parts.map((part) => Buffer.from(part))]);
const update = (...rects: readonly Buffer[]): Buffer => Buffer.concat([Buffer.from([0, 0]), number16(rects.length), ...rects]);
const serverInit = (width: number, height: number, format: Buffer = FORMAT_32): Buffer =>
  Buffer.concat([number16(width, height), format, number32(4), Buffer.from('QEMU')]);
const greeting = (width: number, height: number): Buffer =>
  Buffer.concat([Buffer.from('RFB 003.008\n'), Buffer.from([1, 1]), number32(0), serverInit(width, height)]);
const sent = (pieces: readonly Uint8Array[]): Buffer => Buffer.concat(pieces);

const zlib = deflateSync(Buffer.alloc(500, 'picture'));
const noise = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, index) => (index * 37) & 255));

/** One update or message of each kind that QEMU sends. */
const SERVER_MESSAGES: readonly (readonly [name: string, bytes: Buffer])[] = [
  ['raw', update(rect(3, 2, Encoding.raw, noise(24)))],
  ['several', update(rect(1, 1, Encoding.raw, noise(4)), rect(2, 2, Encoding.copyRect, [0, 0, 0, 0]))],
  ['rre', update(rect(4, 4, Encoding.rre, number32(2), noise(4 + 2 * 12)))],
  [
    'hextile',
    update(
      rect(
        ...([20, 17, Encoding.hextile] as const),
        [2 | 4, ...noise(8)],
        [1, ...noise(4 * 16 * 4)],
        [8, 2, ...noise(4)],
        [2 | 8 | 16, ...noise(4), 1, ...noise(6)],
      ),
    ),
  ],
  ['zlib', update(rect(30, 10, Encoding.zlib, number32(zlib.length), zlib))],
  ['zrle', update(rect(30, 10, Encoding.zrle, number32(zlib.length), zlib))],
  ['tight, one colour', update(rect(64, 64, Encoding.tight, [0x80, 1, 2, 3]))],
  ['tight, JPEG', update(rect(64, 64, Encoding.tight, [0x90, 0x83, 0x02], noise(259)))],
  ['tight, PNG', update(rect(64, 64, Encoding.tightPng, [0xa0, 5], noise(5)))],
  ['tight, copied', update(rect(8, 8, Encoding.tight, [0x00, 20], noise(20)))],
  ['tight, short', update(rect(3, 1, Encoding.tight, [0x00], noise(9)))],
  ['tight, two colours', update(rect(9, 8, Encoding.tight, [0x50, 1, 1], noise(6), [17], noise(17)))],
  ['tight, palette', update(rect(9, 8, Encoding.tight, [0x60, 1, 3], noise(12), [30], noise(30)))],
  ['tight, gradient', update(rect(9, 8, Encoding.tight, [0x70, 2, 0x80, 0x80, 0x01], noise(16_384)))],
  ['cursor', update(rect(9, 2, Encoding.cursor, noise(9 * 2 * 4 + 4)))],
  ['alpha cursor', update(rect(2, 2, Encoding.alphaCursor, noise(20)))],
  ['size', update(rect(80, 60, Encoding.desktopSize))],
  ['size and screens', update(rect(80, 60, Encoding.extendedDesktopSize, [1, 0, 0, 0], noise(16)))],
  [
    'kinds of input',
    update(rect(1, 0, Encoding.pointerType), rect(0, 0, Encoding.extendedKeys), rect(0, 0, Encoding.ledState, [1])),
  ],
  ['last', Buffer.concat([Buffer.from([0, 0, 255, 255]), rect(1, 1, Encoding.raw, noise(4)), rect(0, 0, Encoding.lastRect)])],
  ['colours', Buffer.concat([Buffer.from([1, 0]), number16(0, 2), noise(12)])],
  ['bell', Buffer.from([2])],
  ['text', Buffer.concat([Buffer.from([3, 0, 0, 0]), number32(5), Buffer.from('hello')])],
  ['extended text', Buffer.concat([Buffer.from([3, 0, 0, 0]), number32(-8), noise(8)])],
  ['power', Buffer.from([250, 0, 1, 0])],
  ['sound', Buffer.concat([Buffer.from([255, 1, 0, 2]), number32(6), noise(6)])],
  ['sound begins', Buffer.from([255, 1, 0, 1])],
];

const CLIENT_MESSAGES: readonly (readonly [name: string, bytes: Buffer])[] = [
  ['pixel format', Buffer.concat([Buffer.from([0, 0, 0, 0]), FORMAT_8])],
  ['encodings', Buffer.concat([Buffer.from([2, 0]), number16(3), number32(7), number32(-223), number32(16)])],
  ['update', Buffer.concat([Buffer.from([3, 1]), number16(0, 0, 64, 48)])],
  ['key', Buffer.from([4, 1, 0, 0, 0, 0, 0, 97])],
  ['pointer', Buffer.from([5, 0, 0, 1, 0, 1])],
  ['text', Buffer.concat([Buffer.from([6, 0, 0, 0]), number32(3), Buffer.from('abc')])],
  ['extended text', Buffer.concat([Buffer.from([6, 0, 0, 0]), number32(-4), noise(4)])],
  ['power', Buffer.from([250, 0, 1, 2])],
  ['size', Buffer.concat([Buffer.from([251, 0]), number16(80, 60), Buffer.from([1, 0]), noise(16)])],
  ['extended key', Buffer.concat([Buffer.from([255, 0]), noise(10)])],
  ['sound on', Buffer.from([255, 1, 0, 0])],
  ['sound format', Buffer.concat([Buffer.from([255, 1, 0, 2]), noise(6)])],
];

/** Where a message is cut. */
const cuts = (bytes: Buffer): number[] =>
  Array.from({ length: bytes.length + 1 }, (_, at) => at).filter((at) => at < 100 || at > bytes.length - 100 || at % 97 === 0);

/** Feeds the bytes in two parts, and says what of them is held back after the first. */
function split(framer: Framer, bytes: Buffer, at: number): { readonly all: Buffer; readonly first: number } {
  const first = sent(framer.feed(Buffer.from(bytes.subarray(0, at))));
  return { all: Buffer.concat([first, ...framer.feed(Buffer.from(bytes.subarray(at)))]), first: first.length };
}

describe('what a server sends', () => {
  it.each(SERVER_MESSAGES)('%s is let through whole, wherever it is cut', (_, bytes) => {
    const failed = cuts(bytes).filter((at) => {
      const framer = new Framer(serverStream(newDisplay()));
      framer.feed(greeting(64, 48));
      const isWhole = split(framer, bytes, at).all.equals(bytes) && !framer.isLost && framer.missing === 0;
      // and the next one begins where it should: a bell is a message, and a text is not
      return !isWhole || sent(framer.feed(Buffer.from([2, 3]))).toString('hex') !== '02';
    });
    expect(failed).toEqual([]);
  });

  it('takes a handshake that comes byte by byte', () => {
    const display = newDisplay();
    const framer = new Framer(serverStream(display));
    const all = [...greeting(80, 25)].flatMap((byte) => framer.feed(Buffer.from([byte])));
    expect(sent(all)).toEqual(greeting(80, 25));
    expect(display).toMatchObject({ isReady: true, width: 80, height: 25, format: new Uint8Array(FORMAT_32) });
  });

  it('knows the old versions of the handshake', () => {
    for (const [version, middle] of [
      [3, number32(1)],
      [7, Buffer.from([1, 1])],
    ] as const) {
      const display = { ...newDisplay(), version };
      const bytes = Buffer.concat([Buffer.from('RFB 003.008\n'), middle, serverInit(10, 10)]);
      expect(sent(new Framer(serverStream(display)).feed(bytes))).toEqual(bytes);
      expect(display.isReady).toBe(true);
    }
  });

  it.each([
    ['a password', Buffer.concat([Buffer.from('RFB 003.008\n'), Buffer.from([0]), number32(2), Buffer.from('no')])],
    ['an unknown message', Buffer.concat([greeting(1, 1), Buffer.from([77, 1, 2, 3])])],
    ['an unknown encoding', Buffer.concat([greeting(1, 1), update(rect(1, 1, 4242, [1, 2]))])],
    ['an endless text', Buffer.concat([greeting(1, 1), Buffer.from([3, 0, 0, 0, 127, 255, 255, 255, 1])])],
  ])('is carried as it is after %s', (_, bytes) => {
    const framer = new Framer(serverStream(newDisplay()));
    expect(sent([...bytes].flatMap((byte) => framer.feed(Buffer.from([byte]))))).toEqual(bytes);
    expect(framer.isLost).toBe(true);
  });
});

describe('what a client sends', () => {
  it.each(CLIENT_MESSAGES)('%s is one piece, wherever it is cut', (_, bytes) => {
    for (let at = 0; at < bytes.length; at++) {
      const display = newDisplay();
      const framer = new Framer(clientStream(display));
      framer.feed(Buffer.from('RFB 003.008\n\u0001\u0001'));
      expect(split(framer, bytes, at)).toEqual({ all: bytes, first: 0 });
      expect(framer.isLost).toBe(false);
      expect(framer.feed(Buffer.from([250, 0, 1, 1, 250]))).toEqual([Buffer.from([250, 0, 1, 1])]);
    }
  });

  it('is known to the display', () => {
    const display = newDisplay();
    const framer = new Framer(clientStream(display));
    framer.feed(Buffer.concat([Buffer.from('RFB 003.003\n\u0001'), ...CLIENT_MESSAGES.map(([, bytes]) => bytes)]));
    expect(display).toMatchObject({ version: 3, hasAsked: true, encodings: [7, -223, 16], format: new Uint8Array(FORMAT_8) });
  });
});

describe('an update that its server has not ended', () => {
  const { encodings: _, ...plain } = { ...newDisplay(), format: FORMAT_32 };
  const bytes = update(rect(2, 2, Encoding.raw, noise(16)), rect(30, 10, Encoding.zrle, number32(zlib.length), zlib));

  it.each([
    ['rectangles of one pixel', undefined],
    ['a last one', [Encoding.lastRect]],
  ])('is ended with %s, wherever it is cut', (_name, encodings) => {
    const failed = cuts(bytes).filter((at) => {
      const display = { ...plain, encodings };
      const framer = new Framer(serverStream(display));
      framer.feed(greeting(64, 48));
      const ended = Buffer.concat([...framer.feed(bytes.subarray(0, at)), filling(display, framer.missing)]);
      const reader = new Framer(serverStream(newDisplay()));
      reader.feed(greeting(64, 48));
      const isWhole = sent(reader.feed(ended)).equals(ended) && reader.missing === 0;
      return !isWhole || sent(reader.feed(Buffer.from([2, 3]))).toString('hex') !== '02';
    });
    expect(failed).toEqual([]);
  });

  it.each([
    ['nothing when the size is the same', [], 64, 48, 0],
    ['a size', [Encoding.desktopSize, Encoding.extendedDesktopSize], 80, 60, 16],
    ['a size with its screen', [Encoding.extendedDesktopSize], 80, 60, 36],
    ['nothing to a viewer that has more room', [], 60, 40, 0],
  ])('is followed by %s', (_name, encodings, width, height, length) => {
    const told = resizing({ ...plain, width: 64, height: 48, encodings }, width, height);
    expect(told).toHaveLength(length);
    const display = newDisplay();
    const reader = new Framer(serverStream(display));
    reader.feed(greeting(64, 48));
    expect(sent(reader.feed(told))).toEqual(told);
    if (length > 0) expect(display).toMatchObject({ width, height });
  });

  it('cannot be followed by a larger picture than a viewer knows', () => {
    expect(() => resizing({ ...plain, width: 64, height: 48, encodings: [] }, 80, 48)).toThrow('larger');
  });
});

interface Server {
  /** What the session sees. */
  readonly stream: Duplex;
  /** Sends. */
  readonly out: PassThrough;
  /** Everything that was said to it, when so many bytes have come. */
  heard(bytes: number): Promise<Buffer>;
}

function server(): Server {
  const [out, into] = [new PassThrough(), new PassThrough()];
  return {
    stream: Duplex.from({ readable: out, writable: into }),
    out,
    async heard(bytes) {
      while (into.readableLength < bytes) await once(into, 'readable');
      return Buffer.from(into.read());
    },
  };
}

describe('a session with a display', () => {
  const HELLO = Buffer.from('RFB 003.008\n\u0001\u0001');
  const client = { ...newDisplay(), encodings: [Encoding.tight, Encoding.zrle, Encoding.hextile, Encoding.desktopSize] };

  async function moved() {
    const [first, second] = [server(), server()];
    const next: Duplex[] = [second.stream];
    const session = new DisplaySession(first.stream, async () => next.shift());
    const seen = session.chunks();
    const read = async (length: number): Promise<Buffer> => {
      let all = Buffer.alloc(0);
      while (all.length < length) all = Buffer.concat([all, (await seen.next()).value ?? Buffer.from('end')]);
      return all;
    };
    first.out.write(greeting(64, 48));
    expect(await read(greeting(64, 48).length)).toEqual(greeting(64, 48));
    const asked = askUpdate({ ...client, width: 64, height: 48 });
    await session.write(Buffer.concat([HELLO, setEncodings(client), asked]));
    expect(await first.heard(14 + 20 + 10)).toEqual(Buffer.concat([HELLO, setEncodings(client), asked]));
    return { first, second, session, read, seen };
  }

  it('goes on with the next server, told what the client has said', async () => {
    const { first, second, session, read, seen } = await moved();
    const cut = update(rect(2, 2, Encoding.raw, noise(16)));
    first.out.write(cut.subarray(0, 20));
    expect(await read(20)).toEqual(cut.subarray(0, 20));
    first.out.end();
    second.out.write(greeting(80, 60));
    const picture = update(rect(64, 64, Encoding.tight, [0x80, 1, 2, 3]), rect(64, 64, Encoding.tight, [0x80, 3, 2, 1]));
    second.out.write(picture);
    // the pixels that were missing, the size, and the picture with streams that begin anew
    const expected = Buffer.concat([Buffer.alloc(12), update(rect(80, 60, Encoding.desktopSize)), picture]);
    expected[12 + 16 + 4 + 12] = 0x8f;
    expect(await read(expected.length)).toEqual(expected);
    const replayed = { ...client, encodings: [Encoding.tight, Encoding.hextile, Encoding.desktopSize] };
    const told = Buffer.concat([
      Buffer.from([0, 0, 0, 0]),
      FORMAT_32,
      setEncodings(replayed),
      askUpdate({ ...client, width: 80, height: 60 }),
    ]);
    expect(await second.heard(14 + told.length)).toEqual(Buffer.concat([HELLO, told]));
    await session.write(setEncodings(client));
    expect(await second.heard(16)).toEqual(setEncodings(replayed));
    second.out.end();
    expect(await seen.next()).toEqual({ done: true, value: undefined });
  });

  it('says what the client has begun to say to one server to the next', async () => {
    const { first, second, session, read } = await moved();
    const key = Buffer.from([4, 1, 0, 0, 0, 0, 0, 97]);
    await session.write(key.subarray(0, 3));
    first.out.end();
    second.out.write(greeting(64, 48));
    second.out.write(Buffer.from([2]));
    expect(await read(1)).toEqual(Buffer.from([2]));
    const replayed = 14 + 20 + 16 + 10;
    await second.heard(replayed);
    await session.write(key.subarray(3));
    expect(await second.heard(key.length)).toEqual(key);
  });

  it.each([
    ['a server that asks for a password', Buffer.concat([Buffer.from('RFB 003.008\n'), Buffer.from([1, 2])]), 'password'],
    ['a server that ends', Buffer.from('RFB 003'), 'ended'],
  ])('ends with %s', async (_, bytes, message) => {
    const { first, second, seen } = await moved();
    first.out.end();
    second.out.end(bytes);
    await expect(seen.next()).rejects.toThrow(message);
  });

  it('ends with its server when it says what is not known', async () => {
    const { first, session, seen } = await moved();
    await session.write(Buffer.from([99, 1, 2]));
    expect(await first.heard(3)).toEqual(Buffer.from([99, 1, 2]));
    first.out.end();
    expect(await seen.next()).toEqual({ done: true, value: undefined });
  });
});
