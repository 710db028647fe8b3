import type { HttpAnswer } from './http-client.ts';
import { ImportError } from './import-error.ts';

/** The body of a small answer. Throws ImportError beyond `maxBytes`. */
export async function readAll({ body, url }: HttpAnswer, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBytes) throw new ImportError('InvalidImage', `The answer of ${url.host} is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
