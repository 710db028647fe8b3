/** Readers for what a guest says: every text and list is cut to a bound, and anything of another shape is left out. */

export const MAX_ANSWER_BYTES = 256 * 1024;
const MAX_TEXT = 256;
const MAX_LIST = 256;

export type GuestRecord = Readonly<Record<string, unknown>>;

/** Parses `{"return": …}`; undefined for anything else, or for an answer that is too long. */
export function readReturn(answer: string): unknown {
  if (answer.length > MAX_ANSWER_BYTES) return undefined;
  try {
    const parsed: unknown = JSON.parse(answer);
    return isRecord(parsed) ? parsed['return'] : undefined;
  } catch {
    return undefined;
  }
}

export const isRecord = (value: unknown): value is GuestRecord =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const asRecord = (value: unknown): GuestRecord => (isRecord(value) ? value : {});

/** The first records of a list. */
export function records(value: unknown): GuestRecord[] {
  return Array.isArray(value) ? value.slice(0, MAX_LIST).filter(isRecord) : [];
}

/** A printable text; control characters of a hostile guest, and marks that turn text around, never reach a terminal or a status. */
export function text(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  // oxlint-disable-next-line no-control-regex -- they are what is removed
  const printable = value.replaceAll(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '');
  return printable === '' ? undefined : printable.slice(0, MAX_TEXT);
}

/** A finite number that is not negative. */
export function amount(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : 0;
}

/** The members that are not undefined. */
export function present<T extends object>(fields: { readonly [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T; // undefined ones are gone
}
