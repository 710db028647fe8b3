import { gunzipSync } from 'node:zlib';
import { StatusError, badRequest } from '@slipway/apimachinery';

/** Slow senders hold a seat for as long. */
const BODY_TIMEOUT_MS = 60_000;
export const MAX_BODY_BYTES = 3 * 1024 * 1024;

const tooLarge = (): StatusError =>
  new StatusError({
    code: 413,
    reason: 'RequestEntityTooLarge',
    message: `Request entity too large: limit is ${MAX_BODY_BYTES}`,
  });

interface Readable {
  readonly headers: { readonly 'content-encoding'?: string | string[] | undefined };
  on(event: 'data', listener: (chunk: Buffer) => void): unknown;
  once(event: 'end' | 'close', listener: () => void): unknown;
  once(event: 'error', listener: (error: Error) => void): unknown;
  pause(): unknown;
}

/** The whole body, unpacked. Throws StatusError 413 beyond the limit. */
export async function readBody(request: Readable): Promise<Buffer> {
  const body = await collect(request);
  return request.headers['content-encoding'] === 'gzip' ? unpack(body) : body;
}

function collect(request: Readable): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    let isComplete = false;
    request.on('data', (chunk) => {
      size += chunk.length;
      if (size <= MAX_BODY_BYTES) chunks.push(chunk);
      else chunks.length = 0; // read on, so that the client gets to see the answer
      if (size <= 4 * MAX_BODY_BYTES) return;
      request.pause();
      reject(tooLarge());
    });
    request.once('end', () => {
      isComplete = true;
      if (size > MAX_BODY_BYTES) reject(tooLarge());
      else resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)); // length was checked
    });
    const timer = setTimeout(() => {
      request.pause();
      reject(new StatusError({ code: 408, reason: 'Timeout', message: 'the body did not arrive in time' }));
    }, BODY_TIMEOUT_MS);
    request.once('close', () => clearTimeout(timer));
    request.once('end', () => clearTimeout(timer));
    request.once('error', reject);
    request.once('close', () => {
      if (!isComplete) reject(badRequest('the connection was closed before the whole body had arrived'));
    });
  });
}

function unpack(body: Buffer): Buffer {
  try {
    return gunzipSync(body, { maxOutputLength: MAX_BODY_BYTES });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(); // zlib errors carry a code
    throw badRequest('gzip: invalid header');
  }
}
