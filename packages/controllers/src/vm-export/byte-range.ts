/** One range of a `Range` header. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * The range a client asks for: undefined for everything (no header, or one that means several ranges or other units),
 * `unsatisfiable` for one that lies behind the end. Pure.
 */
export function parseRange(header: string | undefined, sizeBytes: number): ByteRange | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? '');
  const [, first = '', last = ''] = match ?? [];
  if (match === null || (first === '' && last === '')) return undefined;
  if (first === '') {
    const length = Math.min(Number(last), sizeBytes);
    return length === 0 ? 'unsatisfiable' : { offset: sizeBytes - length, length };
  }
  const offset = Number(first);
  if (offset >= sizeBytes) return 'unsatisfiable';
  const end = last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1);
  return end < offset ? undefined : { offset, length: end - offset + 1 };
}
