/** The last bytes of an output, however small the pieces are in which it comes. */
export class Scrollback {
  private readonly ring: Buffer;
  private position = 0;
  private isFull = false;

  constructor(limitBytes: number) {
    this.ring = Buffer.alloc(limitBytes);
  }

  append(chunk: Uint8Array): void {
    const { length } = this.ring;
    const kept = chunk.subarray(-length);
    const first = Math.min(kept.length, length - this.position);
    this.ring.set(kept.subarray(0, first), this.position);
    this.ring.set(kept.subarray(first), 0);
    this.isFull ||= this.position + kept.length >= length;
    this.position = (this.position + kept.length) % length;
  }

  /** A copy of what is kept, oldest first. */
  content(): Buffer {
    const newest = this.ring.subarray(0, this.position);
    return Buffer.concat(this.isFull ? [this.ring.subarray(this.position), newest] : [newest]);
  }
}
