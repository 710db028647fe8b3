import { bytesPerPixel, bytesPerTightPixel, type DisplayState, Encoding, s32, u16, u32 } from './display-state.ts';
import { type Parser, UnknownMessage } from './framer.ts';

export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly encoding: number;
}

/** Below this, Tight sends data as they are. */
const MIN_TIGHT_BYTES = 12;
/** Bits of Tight's first byte that make the client begin its zlib streams anew. */
const RESET_STREAMS = 0x0f;

/** What follows the head of a rectangle; all of it is held back. Throws on encodings it does not know. */
export function* rectangle(display: DisplayState, head: Rectangle): Parser {
  yield { skip: yield* rest(display, head) };
}

/** Rectangles whose head tells their length. */
const FIXED = new Map<number, (rectangle: Rectangle, pixel: number) => number>([
  [Encoding.copyRect, () => 4],
  [Encoding.cursor, ({ width, height }, pixel) => width * height * pixel + Math.ceil(width / 8) * height],
  [Encoding.alphaCursor, ({ width, height }) => 4 + width * height * 4],
  [Encoding.ledState, () => 1],
  [Encoding.desktopSize, () => 0],
  [Encoding.pointerType, () => 0],
  [Encoding.extendedKeys, () => 0],
  [Encoding.audio, () => 0],
  [Encoding.xvp, () => 0],
]);

/** Reads a rectangle as far as its length; how many bytes are left. */
function* rest(display: DisplayState, head: Rectangle): Parser<number> {
  const pixel = bytesPerPixel(display);
  const fixed = FIXED.get(head.encoding);
  if (fixed !== undefined) return fixed(head, pixel);
  switch (head.encoding) {
    case Encoding.zlib:
    case Encoding.zrle:
    case Encoding.zywrle:
    case Encoding.desktopName:
      return u32(yield { take: 4 });
    case Encoding.tight:
    case Encoding.tightPng:
      return yield* tight(display, head);
    case Encoding.hextile:
      return yield* hextile(pixel, head);
    case Encoding.rre:
      return u32(yield { take: 4 }) * (pixel + 8) + pixel;
    case Encoding.extendedDesktopSize:
      return ((yield { take: 4 })[0] ?? 0) * 16;
    case Encoding.pixelFormat:
      display.format = new Uint8Array(yield { take: 16 });
      return 0;
    default:
      throw new UnknownMessage(`rectangle of encoding ${head.encoding}`);
  }
}

const HextileBit = { raw: 1, background: 2, foreground: 4, subrects: 8, coloured: 16 } as const;

function* hextile(pixel: number, { width, height }: Rectangle): Parser<number> {
  for (let y = 0; y < height; y += 16) {
    for (let x = 0; x < width; x += 16) {
      const [mask = 0] = yield { take: 1 };
      if (mask & HextileBit.raw) {
        yield { skip: Math.min(16, width - x) * Math.min(16, height - y) * pixel };
        continue;
      }
      const colours = (mask & HextileBit.background ? pixel : 0) + (mask & HextileBit.foreground ? pixel : 0);
      if (colours > 0) yield { skip: colours };
      if (!(mask & HextileBit.subrects)) continue;
      const [count = 0] = yield { take: 1 };
      yield { skip: count * (mask & HextileBit.coloured ? pixel + 2 : 2) };
    }
  }
  return 0;
}

function* tight(display: DisplayState, { width, height, encoding }: Rectangle): Parser<number> {
  const first = yield { take: 1 };
  const control = first[0] ?? 0;
  // the client's zlib streams are those of the server before: let it begin them anew, as this one has
  if (display.stale.delete(encoding)) first[0] = control | RESET_STREAMS;
  const pixel = bytesPerTightPixel(display);
  const kind = control >> 4;
  if (kind === 8) return pixel; // one colour
  if (kind === 9 || kind === 10) return yield* compactLength(); // JPEG, PNG
  if (kind > 10) throw new UnknownMessage(`Tight compression ${kind}`);
  let bytes = width * height * pixel;
  if (kind & 4) {
    const [filter = 0] = yield { take: 1 };
    if (filter === 1) {
      const colours = ((yield { take: 1 })[0] ?? 0) + 1;
      yield { skip: colours * pixel };
      bytes = colours === 2 ? Math.ceil(width / 8) * height : width * height;
    } else if (filter > 2) throw new UnknownMessage(`Tight filter ${filter}`);
  }
  return bytes < MIN_TIGHT_BYTES ? bytes : yield* compactLength();
}

/** Seven bits, seven bits and eight, the least first. */
function* compactLength(): Parser<number> {
  let length = 0;
  for (const shift of [0, 7, 14]) {
    const [byte = 0] = yield { take: 1 };
    length += (shift === 14 ? byte : byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return length;
}

export function* rectangleHead(): Parser<Rectangle> {
  const head = yield { take: 12 };
  return { x: u16(head), y: u16(head, 2), width: u16(head, 4), height: u16(head, 6), encoding: s32(head, 8) };
}
