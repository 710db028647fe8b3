/** What a parser asks of its stream next. */
export type Step =
  /** So many bytes, to look at; they are held back. */
  | { readonly take: number }
  /** So many bytes that it does not look at; they are held back too. */
  | { readonly skip: number }
  /** So many bytes that go on as they come: zeros can stand for those that never come. */
  | { readonly pass: number }
  /** What was held back goes on, as one piece. */
  | 'whole';

/** Follows a byte stream. Throws on what it does not know; the stream goes on unread then. */
export type Parser<T = void> = Generator<Step, T, Uint8Array>;

/** Most that is held back of one piece: a little more than a picture of 4096x2160 pixels. */
const MAX_HELD_BYTES = 40 * 1024 ** 2;
const NOTHING = new Uint8Array(0);

/** Lets a stream through in whole pieces, as a parser finds them. */
export class Framer {
  private readonly parser: Parser;
  private step: Step | undefined;
  /** Of the step. */
  private left = 0;
  private held: Uint8Array[] = [];
  private heldBytes = 0;
  /** At the end of what has come: too little for the step. */
  private partial: Uint8Array = NOTHING;

  constructor(parser: Parser) {
    this.parser = parser;
    this.next(NOTHING);
  }

  /** The stream is not followed any more: it goes on as it comes. */
  get isLost(): boolean {
    return this.step === undefined;
  }

  /** Bytes of a piece that was let through in part, and that are still to come. */
  get missing(): number {
    return typeof this.step === 'object' && 'pass' in this.step ? this.left : 0;
  }

  giveUp(): void {
    this.step = undefined;
  }

  /** What may go on now. */
  feed(chunk: Uint8Array): Uint8Array[] {
    const data = this.partial.length > 0 ? Buffer.concat([this.partial, chunk]) : chunk;
    this.partial = NOTHING;
    const out: Uint8Array[] = [];
    let [start, offset] = [0, 0];
    const release = (): void => {
      const piece = data.subarray(start, offset);
      start = offset;
      if (this.held.length > 0) out.push(Buffer.concat([...this.held, piece]));
      else if (piece.length > 0) out.push(piece);
      this.held = [];
      this.heldBytes = 0;
    };
    while (this.step !== undefined) {
      if (this.step === 'whole') {
        release();
        this.next(NOTHING);
        continue;
      }
      const available = data.length - offset;
      if ('take' in this.step) {
        if (available < this.left) break;
        offset += this.left;
        this.next(data.subarray(offset - this.left, offset));
        continue;
      }
      const count = Math.min(this.left, available);
      offset += count;
      this.left -= count;
      if ('pass' in this.step) release();
      if (this.left > 0) break;
      this.next(NOTHING);
    }
    if (!this.isLost && this.heldBytes + data.length - start > MAX_HELD_BYTES) this.giveUp();
    if (this.isLost) {
      offset = data.length;
      release();
      return out;
    }
    this.hold(data.subarray(start, offset));
    this.partial = data.subarray(offset);
    return out;
  }

  private hold(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.held.push(piece);
    this.heldBytes += piece.length;
  }

  private next(answer: Uint8Array): void {
    try {
      const { value, done } = this.parser.next(answer);
      this.step = done === true ? undefined : value;
    } catch (error) {
      if (!(error instanceof UnknownMessage)) throw error;
      this.step = undefined;
    }
    if (typeof this.step !== 'object') return;
    if ('pass' in this.step) this.left = this.step.pass;
    else this.left = 'take' in this.step ? this.step.take : this.step.skip;
    if (!('pass' in this.step) && this.left > MAX_HELD_BYTES) this.step = undefined;
  }
}

/** A parser has met what it does not know. */
export class UnknownMessage extends Error {}
