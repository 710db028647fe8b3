import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { isObject } from '@slipway/apimachinery';

/*
 * How the upload proxy speaks with the data mover, over any stream of bytes: the proxy sends a question as one frame of
 * JSON, then the body as frames, of which the last is empty. The mover answers with one frame of JSON, at any moment, and
 * ends. A frame is its length, four bytes big-endian, and its bytes. A body without its last frame was cut off.
 */

const LENGTH_BYTES = 4;
const MAX_MESSAGE_BYTES = 64 * 1024;

/** What the proxy asks. */
export type UploadQuestion = { readonly kind: 'status' } | ({ readonly kind: 'upload' } & UploadOffer);

export interface UploadOffer {
  /** Answer when the image is here and checked, and not when it is converted. */
  readonly isAsync: boolean;
  /** Of the whole file; absent: its end tells. */
  readonly totalBytes?: number;
  /** Chosen by the client: what has arrived is kept when the connection breaks, and this upload may go on. */
  readonly id?: string;
  /** Where in the file the body begins. */
  readonly offset: number;
  /** Of the whole file as it is sent, `algorithm:hash`. */
  readonly checksum?: string;
}

/** What the mover answers. */
export interface UploadAnswer {
  readonly status: number;
  readonly message: string;
  /** The upload that could go on, and what of it is here. */
  readonly id?: string;
  readonly offset?: number;
  readonly totalBytes?: number;
}

/** The other side went away in the middle. */
export class CutOffError extends Error {
  constructor() {
    super('The connection broke before the last byte');
    this.name = 'CutOffError';
  }
}

/** Sends one frame; resolves when the stream takes more. Throws CutOffError when it is closed. */
export async function sendFrame(stream: Writable, data: Uint8Array, signal: AbortSignal): Promise<void> {
  // in one piece: a stream of messages would send two
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + data.length);
  frame.writeUInt32BE(data.length);
  frame.set(data, LENGTH_BYTES);
  if (stream.write(frame)) return;
  if (stream.destroyed) throw new CutOffError();
  const done = new AbortController();
  const either = AbortSignal.any([signal, done.signal]);
  try {
    await Promise.race([once(stream, 'drain', { signal: either }), closed(stream, either)]);
  } catch {
    signal.throwIfAborted();
    throw new CutOffError();
  } finally {
    done.abort();
  }
}

async function closed(stream: Writable, signal: AbortSignal): Promise<never> {
  await once(stream, 'close', { signal });
  throw new CutOffError();
}

export const sendMessage = (stream: Writable, message: UploadQuestion | UploadAnswer, signal: AbortSignal): Promise<void> =>
  sendFrame(stream, Buffer.from(JSON.stringify(message)), signal);

/** Takes frames from a stream of bytes. It reads no further than it is asked to. */
export class FrameReader {
  private readonly source: AsyncIterator<Buffer>;
  private held: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterator<Buffer>) {
    this.source = source;
  }

  /** One frame as JSON. Throws CutOffError at the end of the stream. */
  async message(): Promise<Record<string, unknown>> {
    const length = await this.length();
    if (length > MAX_MESSAGE_BYTES) throw new Error(`A message of ${length} bytes is too long`);
    const value: unknown = JSON.parse((await this.exactly(length)).toString('utf8'));
    if (!isObject(value)) throw new Error('A message is not a JSON object');
    return value;
  }

  /** The bytes of all frames up to the empty one. Throws CutOffError when that does not come. */
  async *body(): AsyncGenerator<Buffer> {
    for (let left = await this.length(); left > 0; left = await this.length()) {
      while (left > 0) {
        if (this.held.length === 0) await this.more();
        const piece = this.held.subarray(0, left);
        this.held = this.held.subarray(piece.length);
        left -= piece.length;
        yield piece;
      }
    }
  }

  private async length(): Promise<number> {
    return (await this.exactly(LENGTH_BYTES)).readUInt32BE();
  }

  private async exactly(length: number): Promise<Buffer> {
    while (this.held.length < length) await this.more();
    const taken = this.held.subarray(0, length);
    this.held = this.held.subarray(length);
    return taken;
  }

  private async more(): Promise<void> {
    const next = await this.source.next().catch(() => ({ done: true as const, value: undefined }));
    if (next.done) throw new CutOffError();
    this.held = this.held.length === 0 ? next.value : Buffer.concat([this.held, next.value]);
  }
}
