import { ImportError } from './import-error.ts';

/** All bytes of something small. Throws ImportError with the complaint beyond `maxBytes`. */
export async function readAll(stream: AsyncIterable<Buffer>, maxBytes: number, complaint: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    length += chunk.length;
    if (length > maxBytes) throw new ImportError('InvalidImage', complaint);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
