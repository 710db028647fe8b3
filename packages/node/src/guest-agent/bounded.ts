/** Readers for what a guest says: every text and list is cut to a bound, and anything of another shape is left out. */

/** The file systems, users or interfaces of a large guest fit; the longest answer that libvirt passes on has 4 MiB. */
export const MAX_ANSWER_BYTES = 1024 * 1024;
const MAX_TEXT = 256;
export const MAX_LIST = 256;

export type GuestRecord = Readonly<Record<string, unknown>>;

/** What is wrong with an answer. */
export type AnswerProblem = 'too-long' | 'malformed';

/** Reads `{"return": …}`. */
export function readAnswer(answer: string): { readonly value: unknown } | { readonly problem: AnswerProblem } {
  if (answer.length > MAX_ANSWER_BYTES) return { problem: 'too-long' };
  try {
    const parsed: unknown = JSON.parse(answer);
    return isRecord(parsed) && Object.hasOwn(parsed, 'return') ? { value: parsed['return'] } : { problem: 'malformed' };
  } catch {
    return { problem: 'malformed' };
  }
}

/** The value of `{"return": …}`; undefined for anything else, or for an answer that is too long. */
export function readReturn(answer: string): unknown {
  const read = readAnswer(answer);
  return 'value' in read ? read.value : undefined;
}

export const isRecord = (value: unknown): value is GuestRecord =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const asRecord = (value: unknown): GuestRecord => (isRecord(value) ? value : {});

/** The first records of a list. */
export function records(value: unknown, limit: number = MAX_LIST): GuestRecord[] {
  return Array.isArray(value) ? value.slice(0, limit).filter(isRecord) : [];
}

// oxlint-disable-next-line no-control-regex -- they are what is removed
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const LONE_SURROGATE = /\p{Surrogate}/gu;
/** Enough for the longest text among characters that are left out. */
const MAX_READ = 8 * MAX_TEXT;

/** A printable text; control characters of a hostile guest, and marks that hide or turn text, never reach a terminal or a status. */
export function text(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  const printable = value.slice(0, MAX_READ).replaceAll(UNPRINTABLE, '').slice(0, MAX_TEXT);
  // half a character is none that a client could read
  return printable === '' ? undefined : printable.replaceAll(LONE_SURROGATE, '\ufffd');
}

/** Beginning of a printable text that came in base64. */
export function encodedText(value: unknown): string | undefined {
  return typeof value === 'string'
    ? text(
        Buffer.from(value.slice(0, 2 * MAX_READ), 'base64')
          .toString('utf8')
          .trim(),
      )
    : undefined;
}

/** A finite number that is not negative. */
export function amount(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : 0;
}

/** The members that are not undefined. */
export function present<T extends object>(fields: { readonly [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T; // undefined ones are gone
}
