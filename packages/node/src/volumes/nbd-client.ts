import type { Socket } from 'node:net';

const OPTION_MAGIC = Buffer.from('IHAVEOPT');
const [FIXED_NEWSTYLE, NO_ZEROES] = [1, 2];
const EXPORT_NAME = 1;
const REQUEST_MAGIC = 0x25609513;
const REPLY_MAGIC = 0x67446698;
const [READ, DISCONNECT] = [0, 2];
const CHUNK_BYTES = 1024 * 1024;

/** Exactly `count` bytes. Rejects when the peer closes before. */
async function take(socket: Socket, count: number): Promise<Buffer> {
  for (;;) {
    const chunk: Buffer | null = socket.read(count);
    if (chunk !== null && chunk.length === count) return chunk;
    if (chunk !== null || socket.readableEnded || socket.destroyed)
      throw new Error('The NBD server closed the connection too early', { cause: socket.errored ?? undefined });
    await readable(socket);
  }
}

function readable(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      for (const event of ['readable', 'end', 'close', 'error']) socket.removeListener(event, settle);
      resolve();
    };
    for (const event of ['readable', 'end', 'close', 'error']) socket.once(event, settle);
  });
}

/** Chooses the server's only export; resolves with its size. */
async function negotiate(socket: Socket): Promise<bigint> {
  const greeting = await take(socket, 18);
  if (greeting.toString('latin1', 0, 16) !== 'NBDMAGICIHAVEOPT') throw new Error('This is no NBD server');
  const flags = greeting.readUInt16BE(16) & (FIXED_NEWSTYLE | NO_ZEROES);
  const answer = Buffer.alloc(20);
  answer.writeUInt32BE(flags, 0);
  OPTION_MAGIC.copy(answer, 4);
  answer.writeUInt32BE(EXPORT_NAME, 12);
  socket.write(answer);
  const head = await take(socket, (flags & NO_ZEROES) === 0 ? 10 + 124 : 10);
  return head.readBigUInt64BE(0);
}

function request(type: number, offset: number, length: number): Buffer {
  const buffer = Buffer.alloc(28);
  buffer.writeUInt32BE(REQUEST_MAGIC, 0);
  buffer.writeUInt16BE(type, 6);
  buffer.writeBigUInt64BE(BigInt(offset), 16);
  buffer.writeUInt32BE(length, 24);
  return buffer;
}

/** Reads a range of the export behind a connected socket, in pieces; closes the connection at the end. */
export async function* readNbd(socket: Socket, offset: number, length: number): AsyncGenerator<Buffer, void, void> {
  try {
    const size = await negotiate(socket);
    const end = Math.min(offset + length, Number(size));
    for (let position = offset; position < end; ) {
      const count = Math.min(CHUNK_BYTES, end - position);
      socket.write(request(READ, position, count));
      const reply = await take(socket, 16);
      const code = reply.readUInt32BE(4);
      if (reply.readUInt32BE(0) !== REPLY_MAGIC || code !== 0) throw new Error(`The NBD server answered with error ${code}`);
      yield await take(socket, count);
      position += count;
    }
    socket.end(request(DISCONNECT, 0, 0));
  } finally {
    socket.destroySoon();
  }
}
