import { Duplex } from 'node:stream';

/** A viewer that reads this much slower than the guest writes is cut off rather than slowing the guest or the others. */
export const MAX_BACKLOG = 1024 * 1024;
/** A guest may write byte by byte: what waits is put together, because each piece costs more than its bytes. */
const BLOCK_BYTES = 16 * 1024;
const HIGH_WATER_BYTES = 4 * 1024;

export interface ViewerDeps {
  readonly onType: (bytes: Buffer, done: () => void) => void;
  readonly onGone: () => void;
}

/** One viewer of a console: what the guest writes comes out, what the viewer types goes in. */
export class Viewer extends Duplex {
  private readonly deps: ViewerDeps;
  private waiting: Buffer[] = [];
  /** How much of the last waiting block is filled. */
  private filled = 0;
  private waitingBytes = 0;
  private isWanted = true;
  private hasEnded = false;

  constructor(deps: ViewerDeps) {
    super({ allowHalfOpen: true, readableHighWaterMark: HIGH_WATER_BYTES });
    this.deps = deps;
  }

  /** Bytes of the guest, in order. */
  offer(chunk: Buffer): void {
    if (this.destroyed || this.hasEnded) return;
    if (this.isWanted && this.waitingBytes === 0) {
      this.isWanted = this.push(chunk);
      return;
    }
    this.keep(chunk);
    if (this.waitingBytes > MAX_BACKLOG) this.destroy(new Error('The viewer does not read what the guest writes'));
  }

  /** The guest is gone: what waits is still read. */
  finish(): void {
    this.hasEnded = true;
    if (this.waitingBytes === 0 && !this.destroyed) this.push(null);
  }

  override _read(): void {
    this.isWanted = true;
    while (this.isWanted && this.waitingBytes > 0) {
      const [block = Buffer.alloc(0)] = this.waiting.splice(0, 1);
      const bytes = this.waiting.length === 0 ? block.subarray(0, this.filled) : block;
      this.waitingBytes -= bytes.length;
      this.isWanted = this.push(bytes);
    }
    if (this.waitingBytes === 0 && this.hasEnded) this.push(null);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.deps.onType(chunk, done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.waiting = [];
    this.waitingBytes = 0;
    this.deps.onGone();
    done(error);
  }

  private keep(chunk: Buffer): void {
    for (let offset = 0; offset < chunk.length; ) {
      if (this.waiting.length === 0 || this.filled === BLOCK_BYTES) {
        this.waiting.push(Buffer.allocUnsafeSlow(BLOCK_BYTES));
        this.filled = 0;
      }
      const copied = chunk.copy(this.waiting.at(-1) ?? Buffer.alloc(0), this.filled, offset);
      this.filled += copied;
      offset += copied;
    }
    this.waitingBytes += chunk.length;
  }
}
