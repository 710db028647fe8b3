import { StringDecoder } from 'node:string_decoder';
import type { WatchEvent } from '@slipway/apimachinery';

/** An event larger than this is not one that an API server sends. */
const MAX_LINE = 16 * 1024 * 1024;

/** Parses the newline-delimited JSON of a watch. */
export async function* readWatchEvents<T>(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<WatchEvent<T>, void, undefined> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const chunk of chunks) {
    const text = decoder.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    let start = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      const line = rest + text.slice(start, end);
      rest = '';
      start = end + 1;
      // the server's schema decides what is in an event
      if (line.trim() !== '') yield JSON.parse(line) as WatchEvent<T>;
    }
    rest += text.slice(start);
    if (rest.length > MAX_LINE) throw new Error('A watch event is too long');
  }
}
