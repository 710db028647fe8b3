import type { FileHandle } from 'node:fs/promises';
import { explainWriteError, ImportError } from './import-error.ts';

/** Granularity of holes: a block of this size that is all zero is not written. */
const BLOCK = 32 * 1024;
const BUFFER = 1024 * 1024;
const ZERO_BLOCK = Buffer.alloc(BLOCK);

/** A part of a buffer, by offsets, that has to be written. */
export interface Extent {
  readonly start: number;
  readonly end: number;
}

/** The parts of `data` that are not zero, in blocks that are aligned to `position` of the file. */
export function dataExtents(data: Buffer, position: number): Extent[] {
  const extents: { start: number; end: number }[] = [];
  for (let start = 0; start < data.length; ) {
    const end = Math.min(data.length, start + BLOCK - ((position + start) % BLOCK));
    if (ZERO_BLOCK.compare(data, start, end, 0, end - start) !== 0) {
      const last = extents.at(-1);
      if (last?.end === start) last.end = end;
      else extents.push({ start, end });
    }
    start = end;
  }
  return extents;
}

/**
 * Writes a stream of bytes to a file whose content is holes from `position` on, leaving holes where the stream has zeros.
 * Memory is bounded by two buffers: one is filled while the other is written.
 */
export class SparseWriter {
  private buffer = Buffer.allocUnsafe(BUFFER);
  private spare = Buffer.allocUnsafe(BUFFER);
  private filled = 0;
  private written: number;
  private synced: number;
  private inFlight: Promise<void> = Promise.resolve();

  private readonly file: FileHandle;
  private readonly limit: number;
  private readonly isDense: boolean;

  /** `limit`: size of the claim; more bytes are an `ImageTooLarge` error. */
  constructor(file: FileHandle, options: { limit: number; position?: number; isDense?: boolean }) {
    this.file = file;
    this.limit = options.limit;
    this.written = options.position ?? 0;
    this.synced = this.written;
    this.isDense = options.isDense ?? false;
  }

  /** Bytes taken so far, holes included. */
  get position(): number {
    return this.written + this.filled;
  }

  /** Bytes that are known to be on disk. */
  get syncedPosition(): number {
    return this.synced;
  }

  async write(chunk: Buffer): Promise<void> {
    if (this.position + chunk.length > this.limit) throw tooLarge(this.limit);
    for (let taken = 0; taken < chunk.length; ) {
      const count = chunk.copy(this.buffer, this.filled, taken);
      taken += count;
      this.filled += count;
      if (this.filled === this.buffer.length) await this.flushBuffer();
    }
  }

  /** Everything taken so far is on disk afterwards. */
  async sync(): Promise<void> {
    await this.flushBuffer();
    await this.inFlight;
    await this.file.datasync();
    this.synced = this.written;
  }

  private async flushBuffer(): Promise<void> {
    await this.inFlight;
    if (this.filled === 0) return;
    const data = this.buffer.subarray(0, this.filled);
    const position = this.written;
    [this.buffer, this.spare] = [this.spare, this.buffer];
    this.written += this.filled;
    this.filled = 0;
    this.inFlight = this.writeExtents(data, position);
    // reported by the next await of inFlight; without this line Node would call it unhandled in between
    this.inFlight.catch(() => {});
  }

  private async writeExtents(data: Buffer, position: number): Promise<void> {
    const extents = this.isDense ? [{ start: 0, end: data.length }] : dataExtents(data, position);
    for (const { start, end } of extents) await writeFully(this.file, data.subarray(start, end), position + start);
  }
}

/** Throws `NoSpace` for a full file system. */
export async function writeFully(file: FileHandle, data: Buffer, position: number): Promise<void> {
  try {
    for (let done = 0; done < data.length; ) {
      const { bytesWritten } = await file.write(data, done, data.length - done, position + done);
      done += bytesWritten;
    }
  } catch (error) {
    throw explainWriteError(error);
  }
}

const tooLarge = (limit: number): ImportError =>
  new ImportError(
    'ImageTooLarge',
    `virtual image size is larger than the reported available storage ${limit}. A larger PVC is required`,
  );
