import { gunzipSync } from 'node:zlib';
import { StatusError, badRequest } from '@slipway/apimachinery';

export const MAX_BODY_BYTES = 3 * 1024 * 1024;

const tooLarge = (): StatusError =>
  new StatusError({
    code: 413,
    reason: 'RequestEntityTooLarge',
    message: `Request entity too large: limit is ${MAX_BODY_BYTES}`,
  });

interface Readable extends AsyncIterable<Buffer> {
  readonly headers: { readonly 'content-encoding'?: string | string[] | undefined };
  resume(): unknown;
}

/** The whole body, unpacked. Throws StatusError 413 beyond the limit. */
export async function readBody(request: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size <= MAX_BODY_BYTES) chunks.push(chunk);
    else chunks.length = 0; // read on, so that the client gets to see the answer
    if (size > 4 * MAX_BODY_BYTES) break;
  }
  if (size > MAX_BODY_BYTES) throw tooLarge();
  const body = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks); // length was checked
  return request.headers['content-encoding'] === 'gzip' ? unpack(body) : body;
}

function unpack(body: Buffer): Buffer {
  try {
    return gunzipSync(body, { maxOutputLength: MAX_BODY_BYTES });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(); // zlib errors carry a code
    throw badRequest('gzip: invalid header');
  }
}
