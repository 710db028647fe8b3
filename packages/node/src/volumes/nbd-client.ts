import type { Socket } from 'node:net';

const OPTION_MAGIC = Buffer.from('IHAVEOPT');
const [FIXED_NEWSTYLE, NO_ZEROES] = [1, 2];
const EXPORT_NAME = 1;
const REQUEST_MAGIC = 0x25609513;
const REPLY_MAGIC = 0x67446698;
const [READ, DISCONNECT] = [0, 2];
const CHUNK_BYTES = 1024 * 1024;

/** Takes exactly as many bytes as asked for. Rejects when the peer closes before. */
type Take = (count: number) => Promise<Buffer>;

function reader(socket: Socket): Take {
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>; // no encoding is set
  let rest: Buffer = Buffer.alloc(0);
  return async (count) => {
    const parts = [rest];
    let length = rest.length;
    while (length < count) {
      const { value, done } = await chunks.next();
      if (done === true) throw new Error('The NBD server closed the connection too early');
      parts.push(value);
      length += value.length;
    }
    const all = parts.length === 1 ? rest : Buffer.concat(parts);
    rest = all.subarray(count);
    return all.subarray(0, count);
  };
}

/** Chooses the server's only export; resolves with its size. */
async function negotiate(socket: Socket, take: Take): Promise<bigint> {
  const greeting = await take(18);
  if (greeting.toString('latin1', 0, 16) !== 'NBDMAGICIHAVEOPT') throw new Error('This is no NBD server');
  const flags = greeting.readUInt16BE(16) & (FIXED_NEWSTYLE | NO_ZEROES);
  const answer = Buffer.alloc(20);
  answer.writeUInt32BE(flags, 0);
  OPTION_MAGIC.copy(answer, 4);
  answer.writeUInt32BE(EXPORT_NAME, 12);
  socket.write(answer);
  const head = await take((flags & NO_ZEROES) === 0 ? 10 + 124 : 10);
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
    const take = reader(socket);
    const size = await negotiate(socket, take);
    const end = Math.min(offset + length, Number(size));
    for (let position = offset; position < end; ) {
      const count = Math.min(CHUNK_BYTES, end - position);
      socket.write(request(READ, position, count));
      const reply = await take(16);
      const code = reply.readUInt32BE(4);
      if (reply.readUInt32BE(0) !== REPLY_MAGIC || code !== 0) throw new Error(`The NBD server answered with error ${code}`);
      yield await take(count);
      position += count;
    }
    socket.end(request(DISCONNECT, 0, 0));
  } finally {
    socket.destroySoon();
  }
}
