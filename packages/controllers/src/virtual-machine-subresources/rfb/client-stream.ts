import { type DisplayState, s32, u16 } from './display-state.ts';
import { type Parser, UnknownMessage } from './framer.ts';

const NO_SECURITY = 1;
const Message = {
  format: 0,
  encodings: 2,
  askUpdate: 3,
  key: 4,
  pointer: 5,
  cutText: 6,
  xvp: 250,
  desktopSize: 251,
  qemu: 255,
} as const;
const QemuMessage = { extendedKey: 0, audio: 1 } as const;
const AUDIO_FORMAT = 2;

/** What a client sends, from its first byte; each message is a piece. */
export function* clientStream(display: DisplayState): Parser {
  const version = /^RFB 003\.(\d{3})\n$/.exec(Buffer.from(yield { take: 12 }).toString('latin1'))?.[1];
  if (version === undefined) throw new UnknownMessage('version');
  display.version = Number(version);
  yield 'whole';
  if (display.version >= 7) {
    if ((yield { take: 1 })[0] !== NO_SECURITY) throw new UnknownMessage('security type');
    yield 'whole';
  }
  yield { skip: 1 };
  yield 'whole';
  for (;;) {
    yield* message(display);
    yield 'whole';
  }
}

function* message(display: DisplayState): Parser {
  const [type = 0] = yield { take: 1 };
  yield { skip: yield* rest(display, type) };
}

/** Reads a message as far as its length; how many bytes are left. */
function* rest(display: DisplayState, type: number): Parser<number> {
  switch (type) {
    case Message.format:
      display.format = new Uint8Array((yield { take: 19 }).subarray(3));
      return 0;
    case Message.encodings: {
      const bytes = yield { take: u16(yield { take: 3 }, 1) * 4 };
      display.encodings = Array.from({ length: bytes.length / 4 }, (_, index) => s32(bytes, index * 4));
      return 0;
    }
    case Message.askUpdate:
      display.hasAsked = true;
      return 9;
    case Message.key:
      return 7;
    case Message.pointer:
      return 5;
    case Message.cutText:
      // negative: of the extended clipboard
      return Math.abs(s32(yield { take: 7 }, 3));
    case Message.xvp:
      return 3;
    case Message.desktopSize:
      return ((yield { take: 7 })[5] ?? 0) * 16;
    case Message.qemu:
      return yield* qemuMessage();
    default:
      throw new UnknownMessage(`client message ${type}`);
  }
}

function* qemuMessage(): Parser<number> {
  const [type = 0] = yield { take: 1 };
  if (type === QemuMessage.extendedKey) return 10;
  if (type !== QemuMessage.audio) throw new UnknownMessage(`QEMU message ${type}`);
  return u16(yield { take: 2 }) === AUDIO_FORMAT ? 6 : 0;
}

/** Encodings with one zlib stream for the whole connection, which nothing in the protocol can begin anew. */
const ONE_STREAM: ReadonlySet<number> = new Set([6, 16, 17]);

/** A client's message as the server gets it. */
export function forServer(display: DisplayState, bytes: Uint8Array): Uint8Array {
  const isEncodings = display.isReady && bytes[0] === Message.encodings;
  return isEncodings && display.hasMoved && display.encodings !== undefined ? setEncodings(display) : bytes;
}

/** Tells a server the client's encodings; one that is not the first is not told those that go on from the first. */
export function setEncodings({ encodings = [], hasMoved }: DisplayState): Buffer {
  const known = hasMoved ? encodings.filter((encoding) => !ONE_STREAM.has(encoding)) : encodings;
  const bytes = Buffer.alloc(4 + known.length * 4);
  bytes.writeUInt8(Message.encodings);
  bytes.writeUInt16BE(known.length, 2);
  for (const [index, encoding] of known.entries()) bytes.writeInt32BE(encoding, 4 + index * 4);
  return bytes;
}

export const setPixelFormat = ({ format }: DisplayState): Buffer =>
  Buffer.concat([Buffer.from([Message.format, 0, 0, 0]), format]);

/** Asks for the whole picture. */
export function askUpdate({ width, height }: DisplayState): Buffer {
  const bytes = Buffer.from([Message.askUpdate, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  bytes.writeUInt16BE(width, 6);
  bytes.writeUInt16BE(height, 8);
  return bytes;
}
