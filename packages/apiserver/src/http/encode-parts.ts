const BLOCK_BYTES = 256 * 1024;
/** No character takes more bytes in UTF-8 per UTF-16 unit. */
const MAX_UNIT_BYTES = 3;

/** Pieces of text as UTF-8 in blocks of about 256 KiB. */
export function* encodeParts(pieces: Iterable<string>): Generator<Buffer> {
  let block = Buffer.allocUnsafe(BLOCK_BYTES);
  let used = 0;
  for (const piece of pieces) {
    if (piece.length * MAX_UNIT_BYTES > BLOCK_BYTES - used) {
      if (used > 0) yield block.subarray(0, used);
      block = Buffer.allocUnsafe(BLOCK_BYTES); // the one before is still on its way
      used = 0;
      if (piece.length * MAX_UNIT_BYTES > BLOCK_BYTES) {
        yield Buffer.from(piece);
        continue;
      }
    }
    used += block.write(piece, used);
  }
  if (used > 0) yield block.subarray(0, used);
}
