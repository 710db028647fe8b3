import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { askUpdate, setEncodings, setPixelFormat } from './client-stream.ts';
import { bytesPerPixel, type DisplayState, Encoding, u16, u32 } from './display-state.ts';

const VERSION = 'RFB 003.008\n';
const NO_SECURITY = 1;
const SHARED = 1;
/** More than this of rectangles or pixels is not made up. */
const MAX_FILLED_BYTES = 64 * 1024 ** 2;

/**
 * Ends what the server before has left unfinished, `missing` bytes of pixels and the rectangles after them, so that another
 * message can follow. The whole picture comes next, so it does not matter what they show.
 */
export function filling(display: DisplayState, missing: number): Buffer {
  const { rectanglesLeft, encodings = [] } = display;
  const isShort = encodings.includes(Encoding.lastRect);
  const size = missing + rectanglesLeft * 16;
  if (size > MAX_FILLED_BYTES) throw new Error('The display has ended in the middle of a picture');
  const pixels = Buffer.alloc(missing);
  if (rectanglesLeft === 0) return pixels;
  if (isShort) return Buffer.concat([pixels, rectangleOf({ encoding: Encoding.lastRect })]);
  const pixel = Buffer.concat([
    rectangleOf({ width: 1, height: 1, encoding: Encoding.raw }),
    Buffer.alloc(bytesPerPixel(display)),
  ]);
  return Buffer.concat([pixels, ...Array.from({ length: rectanglesLeft }, () => pixel)]);
}

function rectangleOf({ width = 0, height = 0, encoding }: { width?: number; height?: number; encoding: number }): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(width, 4);
  head.writeUInt16BE(height, 6);
  head.writeInt32BE(encoding, 8);
  return head;
}

/** Tells the client that the display has another size. Throws when it is larger and the client cannot be told. */
export function resizing({ encodings = [], ...display }: DisplayState, width: number, height: number): Buffer {
  if (width === display.width && height === display.height) return Buffer.alloc(0);
  const update = Buffer.from([0, 0, 0, 1]);
  if (encodings.includes(Encoding.desktopSize))
    return Buffer.concat([update, rectangleOf({ width, height, encoding: Encoding.desktopSize })]);
  if (encodings.includes(Encoding.extendedDesktopSize)) {
    const screens = Buffer.alloc(20);
    screens.writeUInt8(1);
    screens.writeUInt16BE(width, 12);
    screens.writeUInt16BE(height, 14);
    return Buffer.concat([update, rectangleOf({ width, height, encoding: Encoding.extendedDesktopSize }), screens]);
  }
  if (width <= display.width && height <= display.height) return Buffer.alloc(0);
  throw new Error('The display has become larger, and the viewer does not know changes of the size');
}

/** The handshake with a server that the client does not see; the size of its display. */
export async function greet(server: Duplex): Promise<{ readonly width: number; readonly height: number }> {
  await read(server, 12);
  server.write(VERSION);
  const [count = 0] = await read(server, 1);
  if (count === 0) throw new Error('The display refuses a session');
  const types = await read(server, count);
  if (!types.includes(NO_SECURITY)) throw new Error('The display asks for a password');
  server.write(Buffer.from([NO_SECURITY]));
  if (u32(await read(server, 4)) !== 0) throw new Error('The display refuses a session');
  server.write(Buffer.from([SHARED]));
  const init = await read(server, 24);
  const nameLength = u32(init, 20);
  if (nameLength > 0) await read(server, nameLength);
  return { width: u16(init), height: u16(init, 2) };
}

/** Tells another server what the client has told the one before. */
export function replay(display: DisplayState): Buffer {
  const parts = [setPixelFormat(display)];
  if (display.encodings !== undefined) parts.push(setEncodings(display));
  if (display.hasAsked) parts.push(askUpdate(display));
  return Buffer.concat(parts);
}

/** What follows stays in the stream. */
async function read(stream: Duplex, count: number): Promise<Buffer> {
  for (;;) {
    if (stream.destroyed || stream.readableEnded) throw new Error('The display has ended the session');
    const found: unknown = stream.read(count);
    if (found instanceof Buffer && found.length === count) return found;
    if (found !== null) throw new Error('The display has ended the session');
    const over = new AbortController();
    const { signal } = over;
    try {
      await Promise.race(['readable', 'end', 'close'].map((event) => once(stream, event, { signal })));
    } finally {
      over.abort();
    }
  }
}
