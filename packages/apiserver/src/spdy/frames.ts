export const ControlType = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
  windowUpdate: 9,
} as const;

export const FLAG_FIN = 1;
export const RST_PROTOCOL_ERROR = 1;
export const RST_REFUSED = 3;

export type SpdyFrame =
  | { readonly type: 'control'; readonly kind: number; readonly flags: number; readonly payload: Buffer }
  /** A piece of a data frame, as it came; `isLast` on its end, `isFin` when the peer writes no more. */
  | { readonly type: 'data'; readonly streamId: number; readonly bytes: Buffer; readonly isFin: boolean };

const VERSION = 3;
const HEADER_BYTES = 8;
const MAX_CONTROL_BYTES = 64 * 1024;

interface Pending {
  readonly streamId: number;
  readonly isFin: boolean;
  left: number;
}

/** Splits what comes over a SPDY/3.1 connection into frames. Throws for a control frame nobody sends. */
export function spdyDecoder(): (bytes: Uint8Array) => SpdyFrame[] {
  let waiting = Buffer.alloc(0);
  let pending: Pending | undefined;
  return (bytes) => {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let rest = waiting.length === 0 ? chunk : Buffer.concat([waiting, chunk]);
    const frames: SpdyFrame[] = [];
    for (;;) {
      if (pending !== undefined) {
        const piece = rest.subarray(0, pending.left);
        rest = rest.subarray(piece.length);
        pending.left -= piece.length;
        const isEnd = pending.left === 0;
        if (piece.length > 0 || isEnd)
          frames.push({ type: 'data', streamId: pending.streamId, bytes: piece, isFin: isEnd && pending.isFin });
        if (!isEnd) break;
        pending = undefined;
      }
      if (rest.length < HEADER_BYTES) break;
      const length = rest.readUIntBE(5, 3);
      const flags = rest.readUInt8(4);
      const word = rest.readUInt32BE(0);
      if (word < 0x80000000) {
        pending = { streamId: word, isFin: (flags & FLAG_FIN) !== 0, left: length };
        rest = rest.subarray(HEADER_BYTES);
        continue;
      }
      if (((word >>> 16) & 0x7fff) !== VERSION) throw new Error('The peer does not speak SPDY/3');
      if (length > MAX_CONTROL_BYTES) throw new Error('A control frame is too long');
      if (rest.length < HEADER_BYTES + length) break;
      frames.push({ type: 'control', kind: word & 0xffff, flags, payload: rest.subarray(HEADER_BYTES, HEADER_BYTES + length) });
      rest = rest.subarray(HEADER_BYTES + length);
    }
    waiting = Buffer.from(rest);
    return frames;
  };
}

export function controlFrame(kind: number, payload: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(HEADER_BYTES);
  head.writeUInt16BE(0x8000 | VERSION, 0);
  head.writeUInt16BE(kind, 2);
  head.writeUInt8(flags, 4);
  head.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([head, payload]);
}

export function dataFrame(streamId: number, bytes: Uint8Array, isFin = false): Buffer {
  const head = Buffer.alloc(HEADER_BYTES);
  head.writeUInt32BE(streamId, 0);
  head.writeUInt8(isFin ? FLAG_FIN : 0, 4);
  head.writeUIntBE(bytes.length, 5, 3);
  return Buffer.concat([head, bytes]);
}

/** Numbers of 32 bits, one after the other. */
export function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32BE(value >>> 0, index * 4));
  return bytes;
}
