import { crc32 } from 'node:zlib';

/** Bytes before each frame's payload: magic, payload length, CRC of the payload, CRC of these first twelve bytes. */
export const FRAME_HEADER_BYTES = 16;
/** Not valid UTF-8, so it cannot appear inside a key or value. */
const MAGIC = 0xfe_ed_f1_0c;
const MAGIC_BYTES = Buffer.from([0xfe, 0xed, 0xf1, 0x0c]);

/** A frame is what reaches the disk as one unit: the transactions of one group commit, or a part of a snapshot. */
export function encodeFrame(payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length);
  frame.writeUInt32BE(MAGIC, 0);
  frame.writeUInt32BE(payload.length, 4);
  frame.writeUInt32BE(crc32(payload), 8);
  frame.writeUInt32BE(crc32(frame.subarray(0, 12)), 12);
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/** The payload of the frame at `offset`, or undefined when there is no whole and unharmed frame. */
export function decodeFrame(file: Buffer, offset: number): Buffer | undefined {
  if (offset + FRAME_HEADER_BYTES > file.length || file.readUInt32BE(offset) !== MAGIC) return undefined;
  if (file.readUInt32BE(offset + 12) !== crc32(file.subarray(offset, offset + 12))) return undefined;
  const start = offset + FRAME_HEADER_BYTES;
  const end = start + file.readUInt32BE(offset + 4);
  if (end > file.length) return undefined;
  const payload = file.subarray(start, end);
  return crc32(payload) === file.readUInt32BE(offset + 8) ? payload : undefined;
}

/** Position of the first unharmed frame at or after `offset`, or -1. */
export function findFrame(file: Buffer, offset: number): number {
  let at = file.indexOf(MAGIC_BYTES, offset);
  while (at >= 0 && decodeFrame(file, at) === undefined) at = file.indexOf(MAGIC_BYTES, at + 1);
  return at;
}

export interface FrameScan {
  readonly payloads: readonly Buffer[];
  /** Bytes up to the end of the last unharmed frame. */
  readonly validBytes: number;
  /** Position of damage that unharmed frames follow: not a torn last write but corruption. */
  readonly corruptAt?: number;
}

/**
 * Reads frames from `offset` on. Only one frame is ever being written, and it is the last: damage at the end is a write
 * that was never acknowledged, damage before another frame is corruption.
 */
export function scanFrames(file: Buffer, offset: number): FrameScan {
  const payloads: Buffer[] = [];
  let at = offset;
  for (;;) {
    const payload = decodeFrame(file, at);
    if (payload === undefined) break;
    payloads.push(payload);
    at += FRAME_HEADER_BYTES + payload.length;
  }
  const isCorrupt = at < file.length && findFrame(file, at + 1) >= 0;
  return { payloads, validBytes: at, ...(isCorrupt && { corruptAt: at }) };
}
