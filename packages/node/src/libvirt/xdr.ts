/** XDR (RFC 4506) as libvirt's remote protocol uses it: big-endian, everything padded to four bytes. */

const padding = (length: number): number => (4 - (length % 4)) % 4;

export class XdrWriter {
  private readonly chunks: Buffer[] = [];

  int(value: number): this {
    const chunk = Buffer.alloc(4);
    chunk.writeInt32BE(value);
    return this.push(chunk);
  }

  uint(value: number): this {
    const chunk = Buffer.alloc(4);
    chunk.writeUInt32BE(value);
    return this.push(chunk);
  }

  hyper(value: bigint): this {
    const chunk = Buffer.alloc(8);
    chunk.writeBigInt64BE(value);
    return this.push(chunk);
  }

  string(value: string): this {
    const bytes = Buffer.from(value, 'utf8');
    return this.uint(bytes.length)
      .push(bytes)
      .push(Buffer.alloc(padding(bytes.length)));
  }

  optionalString(value: string | undefined): this {
    return value === undefined ? this.uint(0) : this.uint(1).string(value);
  }

  /** Bytes whose length both sides know, such as a UUID. */
  opaque(bytes: Uint8Array): this {
    return this.push(Buffer.from(bytes)).push(Buffer.alloc(padding(bytes.length)));
  }

  toBuffer(): Buffer {
    return Buffer.concat(this.chunks);
  }

  private push(chunk: Buffer): this {
    this.chunks.push(chunk);
    return this;
  }
}

/** Reads what the daemon sends; every length is checked against what is left, because a guest can shape some answers. */
export class XdrReader {
  private readonly buffer: Buffer;
  private offset = 0;

  constructor(buffer: Buffer) {
    this.buffer = buffer;
  }

  int(): number {
    return this.take(4).readInt32BE();
  }

  uint(): number {
    return this.take(4).readUInt32BE();
  }

  hyper(): bigint {
    return this.take(8).readBigInt64BE();
  }

  uhyper(): bigint {
    return this.take(8).readBigUInt64BE();
  }

  double(): number {
    return this.take(8).readDoubleBE();
  }

  string(): string {
    const length = this.uint();
    const text = this.take(length).toString('utf8');
    this.take(padding(length));
    return text;
  }

  optional<T>(read: () => T): T | undefined {
    return this.uint() === 0 ? undefined : read();
  }

  optionalString(): string | undefined {
    return this.optional(() => this.string());
  }

  opaque(length: number): Buffer {
    const bytes = this.take(length);
    this.take(padding(length));
    return bytes;
  }

  array<T>(read: () => T): T[] {
    const count = this.uint();
    if (count > this.remaining) throw new Error(`XDR array of ${count} items in ${this.remaining} bytes`);
    return Array.from({ length: count }, read);
  }

  get remaining(): number {
    return this.buffer.length - this.offset;
  }

  private take(length: number): Buffer {
    if (length > this.remaining) throw new Error(`XDR message ends ${length - this.remaining} bytes too early`);
    const bytes = this.buffer.subarray(this.offset, this.offset + length);
    this.offset += length;
    return bytes;
  }
}
