import type { UploadAnswer, UploadOffer } from '../../upload/frames.ts';
import { CutOffError } from '../../upload/frames.ts';
import type { FileVersion } from '../download.ts';
import { ImportError } from '../import-error.ts';
import type { ByteSource } from '../receive.ts';

interface Part {
  readonly body: AsyncIterable<Buffer>;
  readonly settle: (answer: UploadAnswer | undefined) => void;
}

/** How an upload that may go on differs from one that may not, in the journal. */
const RESUMABLE = 'upload-resumable';
const PLAIN = 'upload';

/** What the journal of an upload says of it. */
export function readRequest(request: string): { readonly isResumable: boolean; readonly checksum: string | undefined } {
  const [kind, checksum] = request.split(' ');
  return { isResumable: kind === RESUMABLE, checksum };
}

/** One file that is being uploaded, in one request or, when the client named it, in several. */
export class UploadSession implements ByteSource {
  readonly request: string;
  readonly id: string | undefined;
  /** Bytes taken over from the client. */
  received = 0;
  private totalBytes: number | undefined;
  private readonly tag: string;
  private part: Part | undefined;
  private next: ((part: Part) => void) | undefined;
  private hasBegun = false;
  private hasEnded = false;

  constructor(offer: Pick<UploadOffer, 'id' | 'totalBytes' | 'checksum'>, tag: string, journalled?: number) {
    this.id = offer.id;
    this.request = [offer.id === undefined ? PLAIN : RESUMABLE, ...(offer.checksum === undefined ? [] : [offer.checksum])].join(
      ' ',
    );
    this.totalBytes = offer.totalBytes;
    this.tag = tag;
    this.received = journalled ?? 0;
    this.hasEnded = journalled !== undefined && journalled === offer.totalBytes;
  }

  get version(): FileVersion {
    return { etag: this.tag, ...(this.totalBytes !== undefined && { totalBytes: this.totalBytes }) };
  }

  /** Nobody is sending, and bytes would be welcome. Without a name there is one chance. */
  get isWaiting(): boolean {
    return this.part === undefined && !this.hasEnded && (this.id !== undefined || !this.hasBegun);
  }

  get isComplete(): boolean {
    return this.hasEnded;
  }

  /** Where the upload stands, for the client. */
  get state(): Pick<UploadAnswer, 'id' | 'offset' | 'totalBytes'> {
    if (this.id === undefined) return {};
    return { id: this.id, offset: this.received, ...(this.totalBytes !== undefined && { totalBytes: this.totalBytes }) };
  }

  /**
   * Gives the session its next bytes. Resolves with the answer for a part after which more must come, and with undefined
   * when the file is complete or the part was cut off.
   */
  take(body: AsyncIterable<Buffer>): Promise<UploadAnswer | undefined> {
    return new Promise((settle) => {
      this.part = { body, settle };
      this.hasBegun = true;
      this.next?.(this.part);
      this.next = undefined;
    });
  }

  async *chunks(offset: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    this.received = offset;
    while (!this.hasEnded) {
      const part = this.part ?? (await this.nextPart(signal));
      try {
        yield* this.counted(part.body);
        this.hasEnded = this.id === undefined || this.received === this.totalBytes;
        this.totalBytes ??= this.hasEnded ? this.received : undefined;
        part.settle(this.hasEnded ? undefined : { status: 204, message: '', ...this.state });
      } catch (error) {
        if (!(error instanceof CutOffError) || this.id === undefined) throw error;
      } finally {
        this.part = undefined;
        part.settle(undefined);
      }
    }
  }

  private async *counted(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of body) {
      this.received += piece.length;
      if (this.totalBytes !== undefined && this.received > this.totalBytes)
        throw new ImportError('InvalidRequest', `More bytes came than the ${this.totalBytes} that were announced`, {
          discardsData: true,
        });
      yield piece;
    }
    if (this.id === undefined && this.totalBytes !== undefined && this.received < this.totalBytes) throw new CutOffError();
  }

  private nextPart(signal: AbortSignal): Promise<Part> {
    return new Promise((resolve, reject) => {
      this.next = resolve;
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
  }
}
