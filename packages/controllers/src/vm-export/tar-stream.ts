const BLOCK = 512;

function numeric(value: number, width: number): Buffer {
  const text = value.toString(8);
  if (text.length < width) return Buffer.from(`${text.padStart(width - 1, '0')}\0`, 'latin1');
  // GNU: numbers that do not fit in octal are stored as such, with the highest bit set
  const field = Buffer.alloc(width);
  field.writeBigUInt64BE(BigInt(value), width - 8);
  field.writeUInt8(0x80, 0);
  return field;
}

/** Head of a regular file in a tar archive. */
export function tarHeader(name: string, sizeBytes: number, modifiedMs: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, 100, 'latin1');
  numeric(0o644, 8).copy(header, 100);
  numeric(107, 8).copy(header, 108);
  numeric(107, 8).copy(header, 116);
  numeric(sizeBytes, 12).copy(header, 124);
  numeric(Math.floor(modifiedMs / 1000), 12).copy(header, 136);
  header.write('        ', 148, 8, 'latin1');
  header.write('0', 156, 1, 'latin1');
  header.write('ustar\x0000', 257, 8, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8, 'latin1');
  return header;
}

/** A tar archive with one file. Throws when the content has another length than announced. */
export async function* tarOf(
  file: { readonly name: string; readonly sizeBytes: number; readonly modifiedMs: number },
  content: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  yield tarHeader(file.name, file.sizeBytes, file.modifiedMs);
  yield* exactly(content, file.sizeBytes);
  yield Buffer.alloc((BLOCK - (file.sizeBytes % BLOCK)) % BLOCK);
  yield Buffer.alloc(2 * BLOCK);
}

/** Passes bytes on. Throws at the end when there were not as many as announced: a broken stream looks like its end. */
export async function* exactly(content: AsyncIterable<Uint8Array>, length: number): AsyncGenerator<Uint8Array, void, void> {
  let left = length;
  for await (const chunk of content) {
    left -= chunk.length;
    if (left < 0) break;
    yield chunk;
  }
  if (left !== 0) throw new Error(`The disk gave ${length - left} of ${length} bytes`);
}
