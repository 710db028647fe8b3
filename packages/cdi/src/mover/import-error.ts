/** What went wrong decides what happens next: see `ImportError`. */
export type ImportFailure =
  | 'ChecksumError'
  | 'ImageTooLarge'
  | 'InvalidImage'
  | 'SourceNotFound'
  | 'SourceRefused'
  | 'SourceUnreachable'
  | 'SourceChanged'
  | 'NoSpace'
  | 'InvalidRequest';

/** Ends a transfer. The message is shown to people as it is, so it names the subject, the cause and the remedy. */
export class ImportError extends Error {
  readonly reason: ImportFailure;
  /** The data on disk is of no further use: wipe it. False: a later run goes on where this one stopped. */
  readonly discardsData: boolean;

  constructor(reason: ImportFailure, message: string, options: { cause?: unknown; discardsData?: boolean } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ImportError';
    this.reason = reason;
    this.discardsData = options.discardsData ?? DISCARDING.has(reason);
  }
}

const DISCARDING: ReadonlySet<ImportFailure> = new Set([
  'ChecksumError',
  'ImageTooLarge',
  'InvalidImage',
  'NoSpace',
  'SourceChanged',
]);

/** Bytes for people, in binary units. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`;
}

/** `code` of a system error, such as `ENOSPC`. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** The file system is full; what people can do about it. */
export const noSpace = (cause: unknown): ImportError =>
  new ImportError(
    'NoSpace',
    'no space left on device: the file system that holds the volumes of this node is full. Free space or enlarge it; the import starts again by itself',
    { cause },
  );

/** Turns a full file system into the error people can act on; every other error stays as it is. */
export function explainWriteError(error: unknown): unknown {
  const code = codeOf(error);
  return code === 'ENOSPC' || code === 'EDQUOT' ? noSpace(error) : error;
}
