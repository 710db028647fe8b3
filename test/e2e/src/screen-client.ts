import { connect, type Socket } from 'node:net';
import { constants, createInflate, type Inflate } from 'node:zlib';

const RAW = 0;
const TIGHT = 7;
const DESKTOP_SIZE = -223;
const BYTES_PER_PIXEL = 4;
/** Tight sends three. */
const BYTES_PER_TIGHT_PIXEL = 3;
const PATIENCE_MS = 120_000;

/** One update of the screen: how many pixels it had. */
export type Update = number;

/** A small VNC viewer: it reads Tight, whose zlib streams last as long as the connection, and fails when they do not fit. */
export interface ScreenClient {
  readonly width: number;
  readonly height: number;
  /** Resolves with the first update that nobody has had yet. */
  nextUpdate(): Promise<Update>;
  /** Leaves out the updates that have come. */
  forget(): void;
  type(keysym: number): void;
  /** Why the session ended; undefined while it goes on. */
  readonly end: string | undefined;
  close(): void;
}

/** Connects to a port at which `virtctl vnc` listens. */
export async function openScreen(port: number): Promise<ScreenClient> {
  const socket = connect(port, '127.0.0.1');
  const read = reader(socket);
  await read(12);
  socket.write('RFB 003.008\n');
  await read((await read(1)).readUInt8());
  socket.write(Buffer.from([1]));
  await read(4);
  socket.write(Buffer.from([1]));
  const init = await read(24);
  await read(init.readUInt32BE(20));
  const screen = { width: init.readUInt16BE(0), height: init.readUInt16BE(2), end: undefined as string | undefined };
  const encodings = [TIGHT, RAW, DESKTOP_SIZE];
  socket.write(Buffer.concat([Buffer.from([2, 0]), number16(encodings.length), ...encodings.map(number32)]));
  const ask = (incremental: number): void =>
    void socket.write(Buffer.concat([Buffer.from([3, incremental]), number16(0, 0, screen.width, screen.height)]));
  const updates: Update[] = [];
  let waiter: (() => void) | undefined;
  const follow = async (): Promise<void> => {
    const streams = new Map<number, Inflate>();
    for (ask(0); ; ) {
      const type = (await read(1)).readUInt8();
      if (type === 2) continue;
      if (type !== 0) throw new Error(`A message of type ${type}`);
      const count = (await read(3)).readUInt16BE(1);
      let pixels = 0;
      for (let index = 0; index < count; index++) pixels += await rectangle(read, streams, screen);
      updates.push(pixels);
      waiter?.();
      ask(1);
    }
  };
  follow().catch((error: unknown) => {
    screen.end = String(error);
    socket.destroy();
    waiter?.();
  });
  return {
    get width() {
      return screen.width;
    },
    get height() {
      return screen.height;
    },
    get end() {
      return screen.end;
    },
    async nextUpdate() {
      const deadline = AbortSignal.timeout(PATIENCE_MS);
      for (;;) {
        const found = updates.shift();
        if (found !== undefined) return found;
        if (screen.end !== undefined) throw new Error(`The session has ended: ${screen.end}`);
        if (deadline.aborted) throw new Error('No update has come');
        await new Promise<void>((resolve) => {
          waiter = resolve;
          deadline.addEventListener('abort', () => resolve(), { once: true });
        });
      }
    },
    forget: () => void updates.splice(0),
    type(keysym) {
      for (const isDown of [1, 0]) socket.write(Buffer.concat([Buffer.from([4, isDown, 0, 0]), number32(keysym)]));
    },
    close: () => socket.destroy(),
  };
}

type Read = (count: number) => Promise<Buffer>;

function reader(socket: Socket): Read {
  const chunks = socket[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);
  return async (count) => {
    while (rest.length < count) {
      const { value, done } = await chunks.next();
      if (done === true) throw new Error('The connection has ended');
      rest = Buffer.concat([rest, value]);
    }
    const found = rest.subarray(0, count);
    rest = rest.subarray(count);
    return found;
  };
}

async function rectangle(read: Read, streams: Map<number, Inflate>, screen: { width: number; height: number }): Promise<number> {
  const head = await read(12);
  const [width, height] = [head.readUInt16BE(4), head.readUInt16BE(6)];
  const encoding = head.readInt32BE(8);
  if (encoding === DESKTOP_SIZE) Object.assign(screen, { width, height });
  else if (encoding === RAW) await read(width * height * BYTES_PER_PIXEL);
  else if (encoding === TIGHT) await tight(read, streams, width, height);
  else throw new Error(`A rectangle of encoding ${encoding}`);
  return encoding === DESKTOP_SIZE ? 0 : width * height;
}

async function tight(read: Read, streams: Map<number, Inflate>, width: number, height: number): Promise<void> {
  const control = (await read(1)).readUInt8();
  for (let stream = 0; stream < 4; stream++) if (control & (1 << stream)) streams.delete(stream);
  const kind = control >> 4;
  if (kind === 8) return void (await read(BYTES_PER_TIGHT_PIXEL));
  if (kind > 7) throw new Error(`Tight compression ${kind}, which was not asked for`);
  let bytes = width * height * BYTES_PER_TIGHT_PIXEL;
  if (kind & 4 && (await read(1)).readUInt8() === 1) {
    const colours = (await read(1)).readUInt8() + 1;
    await read(colours * BYTES_PER_TIGHT_PIXEL);
    bytes = colours === 2 ? Math.ceil(width / 8) * height : width * height;
  }
  if (bytes < 12) return void (await read(bytes));
  let length = 0;
  for (const shift of [0, 7, 14]) {
    const byte = (await read(1)).readUInt8();
    length |= (shift === 14 ? byte : byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  const stream = streams.get(kind & 3) ?? createInflate({ finishFlush: constants.Z_SYNC_FLUSH });
  streams.set(kind & 3, stream);
  const found = await inflate(stream, await read(length));
  if (found !== bytes) throw new Error(`${found} bytes of pixels instead of ${bytes}`);
}

/** How many bytes this part of the stream holds. */
function inflate(stream: Inflate, part: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    let bytes = 0;
    const onData = (chunk: Buffer): void => void (bytes += chunk.length);
    stream.on('data', onData);
    stream.once('error', reject);
    stream.write(part, () => {
      stream.off('data', onData);
      stream.off('error', reject);
      resolve(bytes);
    });
  });
}

function number16(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2);
  for (const [index, value] of values.entries()) bytes.writeUInt16BE(value, index * 2);
  return bytes;
}

function number32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
