import type { Duplex } from 'node:stream';

/** What flows over the one byte stream of an exec or attach between the API server and a node. */
export const Channel = {
  /** Server to node; an empty frame closes the standard input. */
  stdin: 0,
  stdout: 1,
  stderr: 2,
  /** Node to server, last: a Status as JSON, with the exit code as KubeVirt and Kubernetes write it. */
  status: 3,
  /** Server to node: `{"Width":…,"Height":…}`. */
  resize: 4,
} as const;

export interface ChannelFrame {
  readonly channel: number;
  readonly data: Uint8Array;
}

/** A longer frame is a broken peer. */
const MAX_FRAME_BYTES = 4 * 1024 * 1024;
const SPLIT_BYTES = 64 * 1024;
const HEADER_BYTES = 5;

/** One frame: channel, length as four bytes big-endian, data. */
export function encodeFrame(channel: number, data: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + data.length);
  frame.writeUInt8(channel, 0);
  frame.writeUInt32BE(data.length, 1);
  frame.set(data, HEADER_BYTES);
  return frame;
}

/** Takes bytes as they come and gives the frames they complete. Throws for a frame beyond the limit. */
export function frameDecoder(): (bytes: Uint8Array) => ChannelFrame[] {
  let waiting: Buffer[] = [];
  let length = 0;
  /** Pieces are put together only when there is a whole frame. */
  let wanted = HEADER_BYTES;
  return (bytes) => {
    waiting.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    length += bytes.byteLength;
    if (length < wanted) return [];
    const joined = Buffer.concat(waiting);
    const frames: ChannelFrame[] = [];
    let offset = 0;
    wanted = HEADER_BYTES;
    while (joined.length - offset >= HEADER_BYTES) {
      const size = joined.readUInt32BE(offset + 1);
      if (size > MAX_FRAME_BYTES) throw new Error(`A frame of ${size} bytes is too long`);
      const end = offset + HEADER_BYTES + size;
      if (end > joined.length) {
        wanted = HEADER_BYTES + size;
        break;
      }
      frames.push({ channel: joined.readUInt8(offset), data: joined.subarray(offset + HEADER_BYTES, end) });
      offset = end;
    }
    waiting = offset === joined.length ? [] : [joined.subarray(offset)];
    length = joined.length - offset;
    return frames;
  };
}

/** The frames of a stream until it ends. Throws when the peer sends what is none. */
export async function* readFrames(stream: AsyncIterable<Uint8Array>): AsyncGenerator<ChannelFrame> {
  const decode = frameDecoder();
  for await (const chunk of stream) yield* decode(chunk);
}

/** Writes data of any length; resolves when more may be written. Rejects when the stream is gone. */
export async function writeFrame(stream: Duplex, channel: number, data: Uint8Array): Promise<void> {
  for (let offset = 0; offset === 0 || offset < data.length; offset += SPLIT_BYTES) {
    if (!stream.writable) throw new Error('The stream is closed');
    if (stream.write(encodeFrame(channel, data.subarray(offset, offset + SPLIT_BYTES)))) continue;
    await new Promise<void>((resolve, reject) => {
      const settle = (error?: Error): void => {
        stream.off('drain', settle).off('close', onClose).off('error', settle);
        if (error) reject(error);
        else resolve();
      };
      const onClose = (): void => settle(new Error('The stream is closed'));
      stream.once('drain', settle).once('close', onClose).once('error', settle);
    });
  }
}
