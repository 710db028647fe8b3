import { CutOffError } from './frames.ts';

const MAX_HEADER_BYTES = 16 * 1024;
/** Fields and preamble before the file. */
const MAX_SKIPPED_BYTES = 1024 * 1024;

/** A form that holds no file, or is none. */
export class FormError extends Error {}

/** The boundary of a `multipart/form-data` body; undefined when the header names none. */
export function boundaryOf(contentType: string | undefined): string | undefined {
  const [, quoted, plain] =
    /^multipart\/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))/i.exec(contentType ?? '') ?? [];
  return quoted ?? plain;
}

/** Content of the part that is called `file`, as it comes in. Throws FormError, and CutOffError for a form without its end. */
export async function* formFile(input: AsyncIterator<Buffer>, boundary: string): AsyncGenerator<Buffer> {
  const form = new FormReader(input, boundary);
  for (;;) {
    const header = await form.nextPart();
    if (header === undefined) throw new FormError('the form has no part "file"');
    if (!/^content-disposition:[^\r\n]*;\s*name="?file"?\s*(?:;|\r|$)/im.test(header)) continue;
    yield* form.content();
    return;
  }
}

class FormReader {
  private readonly input: AsyncIterator<Buffer>;
  private readonly delimiter: Buffer;
  /** As if a line had ended before the first boundary. */
  private held = Buffer.from('\r\n');
  private skipped = 0;

  constructor(input: AsyncIterator<Buffer>, boundary: string) {
    this.input = input;
    this.delimiter = Buffer.from(`\r\n--${boundary}`);
  }

  /** Headers of the next part; undefined after the last. */
  async nextPart(): Promise<string | undefined> {
    for await (const piece of this.content()) {
      this.skipped += piece.length;
      if (this.skipped > MAX_SKIPPED_BYTES) throw new FormError('the part "file" does not come first in the form');
    }
    while (this.held.length < 2) await this.more();
    if (this.held.subarray(0, 2).toString('latin1') === '--') return undefined;
    const end = await this.find(Buffer.from('\r\n\r\n'));
    const header = this.held.subarray(0, end).toString('utf8');
    this.held = this.held.subarray(end + 4);
    // an empty part: its delimiter begins with the line that ended the headers
    this.held = Buffer.concat([Buffer.from('\r\n'), this.held]);
    this.isFresh = true;
    return header;
  }

  private isFresh = false;

  /** Bytes up to the next boundary, which is taken too. */
  async *content(): AsyncGenerator<Buffer> {
    for (;;) {
      const at = this.held.indexOf(this.delimiter);
      if (at >= 0) {
        const piece = this.strip(this.held.subarray(0, at));
        this.held = this.held.subarray(at + this.delimiter.length);
        if (piece.length > 0) yield piece;
        return;
      }
      // the end of what is here may be the beginning of the delimiter
      const safe = this.held.length - this.delimiter.length + 1;
      if (safe > 2) {
        const piece = this.strip(this.held.subarray(0, safe));
        this.held = this.held.subarray(safe);
        if (piece.length > 0) yield piece;
      }
      await this.more();
    }
  }

  /** Without the line end that stands for the one before the content. */
  private strip(piece: Buffer): Buffer {
    const content = this.isFresh ? piece.subarray(2) : piece;
    this.isFresh = false;
    return content;
  }

  private async find(text: Buffer): Promise<number> {
    for (;;) {
      const at = this.held.indexOf(text);
      if (at >= 0) return at;
      if (this.held.length > MAX_HEADER_BYTES) throw new FormError('the headers of a part are too long');
      await this.more();
    }
  }

  private async more(): Promise<void> {
    const next = await this.input.next();
    if (next.done) throw new CutOffError();
    this.held = Buffer.concat([this.held, next.value]);
  }
}
