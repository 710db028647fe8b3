import { type Inflate, constants, createInflate } from 'node:zlib';
import { DICTIONARY_ID, headerDictionary } from './dictionary.ts';

export type SpdyHeaders = Readonly<Record<string, string>>;

const MAX_HEADER_BYTES = 64 * 1024;
const MAX_HEADERS = 256;
const STORED_BYTES = 0xffff;
/** Deflate with a preset dictionary; the check bits make the pair divisible by 31. */
const ZLIB_HEADER = Buffer.from([0x78, 0x20, ...[24, 16, 8, 0].map((shift) => (DICTIONARY_ID >>> shift) & 0xff)]);
/** An empty stored block: what came before it can be read. */
const SYNC_FLUSH = Buffer.from([0, 0, 0, 0xff, 0xff]);

/** Packs header blocks of one connection. They are tiny, so they are stored and not compressed. */
export function headerPacker(): (headers: SpdyHeaders) => Buffer {
  let isFirst = true;
  return (headers) => {
    const block = writeHeaders(headers);
    const parts: Buffer[] = isFirst ? [ZLIB_HEADER] : [];
    isFirst = false;
    for (let offset = 0; offset < block.length; offset += STORED_BYTES) {
      const stored = block.subarray(offset, offset + STORED_BYTES);
      const head = Buffer.alloc(5);
      head.writeUInt16LE(stored.length, 1);
      head.writeUInt16LE(stored.length ^ 0xffff, 3);
      parts.push(head, stored);
    }
    return Buffer.concat([...parts, SYNC_FLUSH]);
  };
}

function writeHeaders(headers: SpdyHeaders): Buffer {
  const number = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const text = (value: string): Buffer[] => [number(Buffer.byteLength(value)), Buffer.from(value)];
  const entries = Object.entries(headers);
  return Buffer.concat([number(entries.length), ...entries.flatMap(([name, value]) => [...text(name), ...text(value)])]);
}

/** Unpacks header blocks of one connection, in their order. */
export interface HeaderUnpacker {
  /** Rejects for a block that is damaged or too long; the connection is of no use after that. */
  unpack(block: Uint8Array): Promise<SpdyHeaders>;
  close(): void;
}

export function headerUnpacker(): HeaderUnpacker {
  let inflate: Inflate | undefined;
  let failure: Error | undefined;
  let onFailure: (error: Error) => void = () => undefined;
  const start = (): Inflate => {
    const made = createInflate({ dictionary: headerDictionary(), finishFlush: constants.Z_SYNC_FLUSH });
    made.on('error', (error) => {
      failure = error;
      onFailure(error);
    });
    return made;
  };
  return {
    async unpack(block) {
      if (failure !== undefined) throw failure;
      const stream = (inflate ??= start());
      const parts: Buffer[] = [];
      let size = 0;
      await new Promise<void>((resolve, reject) => {
        onFailure = reject;
        const onData = (part: Buffer): void => {
          size += part.length;
          parts.push(part);
          if (size <= MAX_HEADER_BYTES) return;
          failure = new Error('The headers of a stream are too long');
          stream.destroy();
          reject(failure);
        };
        stream.on('data', onData);
        stream.write(block, () => {
          stream.off('data', onData);
          resolve();
        });
      });
      return readHeaders(Buffer.concat(parts));
    },
    close: () => inflate?.destroy(),
  };
}

/** Throws for a block that does not hold what it announces. */
export function readHeaders(block: Buffer): SpdyHeaders {
  let offset = 0;
  const number = (): number => {
    if (offset + 4 > block.length) throw new Error('A header block ends too early');
    offset += 4;
    return block.readUInt32BE(offset - 4);
  };
  const text = (): string => {
    const length = number();
    if (offset + length > block.length) throw new Error('A header block ends too early');
    offset += length;
    return block.toString('utf8', offset - length, offset);
  };
  const count = number();
  if (count > MAX_HEADERS) throw new Error(`${count} headers are too many`);
  const headers = new Map<string, string>();
  for (let index = 0; index < count; index++) {
    const name = text().toLowerCase();
    // several values of one name are separated by NUL; nobody here sends more than one
    headers.set(name, text().split('\0')[0] ?? '');
  }
  return Object.fromEntries(headers);
}
