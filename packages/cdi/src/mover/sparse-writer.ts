import { alignedBuffers } from './aligned-memory.ts';
import type { BulkFile } from './bulk-file.ts';
import { ImportError } from './import-error.ts';

/** Granularity of holes: a block of this size that is all zero is not written. */
const BLOCK = 32 * 1024;
const BUFFER = 1024 * 1024;
const BUFFERS = 4;
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
 * Memory is bounded by a few buffers: one is filled while the others are written.
 */
export class SparseWriter {
  private readonly slots: { readonly buffer: Buffer; done: Promise<void> }[];
  private current = 0;
  private filled = 0;
  private given: number;

  private readonly target: BulkFile;
  private readonly limit: number;
  private readonly isDense: boolean;

  /** `limit`: size of the claim; more bytes are an `ImageTooLarge` error. */
  constructor(target: BulkFile, options: { limit: number; position?: number; isDense?: boolean }) {
    this.target = target;
    this.limit = options.limit;
    this.given = options.position ?? 0;
    this.isDense = options.isDense ?? false;
    this.slots = alignedBuffers(BUFFERS, BUFFER).map((buffer) => ({ buffer, done: Promise.resolve() }));
  }

  /** Bytes taken so far, holes included. */
  get position(): number {
    return this.given + this.filled;
  }

  async write(chunk: Buffer): Promise<void> {
    if (this.position + chunk.length > this.limit) throw tooLarge(this.limit);
    for (let taken = 0; taken < chunk.length; ) {
      const { buffer } = this.slot();
      const count = chunk.copy(buffer, this.filled, taken);
      taken += count;
      this.filled += count;
      if (this.filled === BUFFER) await this.flush();
    }
  }

  /** Waits until what was given to the file by now is in it; answers how far that is. */
  async landed(): Promise<number> {
    const mark = this.given;
    await Promise.all(this.slots.map(({ done }) => done));
    return mark;
  }

  /** Like `landed`, and it survives a loss of power. */
  async durable(): Promise<number> {
    const mark = await this.landed();
    await this.target.file.datasync();
    return mark;
  }

  /** Everything taken so far is in the file afterwards. */
  async finish(): Promise<void> {
    if (this.filled > 0) await this.flush();
    await this.landed();
  }

  private slot() {
    const slot = this.slots[this.current];
    if (slot === undefined) throw new Error('a writer without buffers');
    return slot;
  }

  /** Resolves when the next buffer is free. */
  private async flush(): Promise<void> {
    const slot = this.slot();
    slot.done = this.writeExtents(slot.buffer.subarray(0, this.filled), this.given);
    // reported by the next await of it; without this line Node would call it unhandled in between
    slot.done.catch(() => {});
    this.given += this.filled;
    this.filled = 0;
    this.current = (this.current + 1) % this.slots.length;
    await this.slot().done;
  }

  private async writeExtents(data: Buffer, position: number): Promise<void> {
    const extents = this.isDense ? [{ start: 0, end: data.length }] : dataExtents(data, position);
    for (const { start, end } of extents) await this.target.write(data.subarray(start, end), position + start);
  }
}

const tooLarge = (limit: number): ImportError =>
  new ImportError(
    'ImageTooLarge',
    `virtual image size is larger than the reported available storage ${limit}. A larger PVC is required`,
  );
