import { createHash, type Hash } from 'node:crypto';
import { ImportError } from './import-error.ts';

const HEX_DIGITS: Readonly<Record<string, number>> = { md5: 32, sha1: 40, sha256: 64, sha512: 128 };

export interface Checksum {
  readonly algorithm: string;
  /** Lower case. */
  readonly hex: string;
}

/** Parses `algorithm:hex`. Returns the complaint as text when it is not one. */
export function parseChecksum(text: string): Checksum | string {
  const [algorithm = '', hex = '', ...rest] = text.toLowerCase().split(':');
  const digits = HEX_DIGITS[algorithm];
  if (rest.length > 0 || hex === '') return `Invalid checksum format: "${text}" is not algorithm:hash`;
  if (digits === undefined) return `Invalid checksum format: algorithm "${algorithm}" is not one of md5, sha1, sha256, sha512`;
  if (hex.length !== digits || !/^[0-9a-f]+$/.test(hex))
    return `Invalid checksum format: ${algorithm} needs ${digits} hexadecimal digits`;
  return { algorithm, hex };
}

/** Hashes a stream and compares it in the end; without a checksum it does nothing. */
export class ChecksumVerifier {
  private readonly hash: Hash | undefined;
  private readonly checksum: Checksum | undefined;

  constructor(checksum: Checksum | undefined) {
    this.checksum = checksum;
    this.hash = checksum && createHash(checksum.algorithm);
  }

  get isNeeded(): boolean {
    return this.hash !== undefined;
  }

  update(chunk: Buffer): void {
    this.hash?.update(chunk);
  }

  /** Throws `ChecksumError` on a mismatch. To be called once, at the end. */
  verify(): void {
    if (this.checksum === undefined || this.hash === undefined) return;
    const actual = this.hash.digest('hex');
    if (actual !== this.checksum.hex)
      throw new ImportError(
        'ChecksumError',
        `checksum mismatch: expected ${this.checksum.algorithm}:${this.checksum.hex}, the source has ${this.checksum.algorithm}:${actual}. ` +
          'Correct spec.source.http.checksum or the file, then create the DataVolume again',
      );
  }
}
