/** Which characters an item of a pattern takes: one bit for each of ASCII, one for all the others together. */
export type CharSet = bigint;

export const EMPTY: CharSet = 0n;
const OTHERS = 128;
const ALL: CharSet = (1n << BigInt(OTHERS + 1)) - 1n;

const bit = (code: number): CharSet => 1n << BigInt(Math.min(code, OTHERS));

export const single = (char: string): CharSet => bit(char.charCodeAt(0));

/** Both ends included; both are ASCII. */
export function range(first: string, last: string): CharSet {
  let set = EMPTY;
  for (let code = first.charCodeAt(0); code <= last.charCodeAt(0); code++) set |= bit(code);
  return set;
}

export const complement = (set: CharSet): CharSet => ALL & ~set;
export const disjoint = (a: CharSet, b: CharSet): boolean => (a & b) === EMPTY;

export const DIGITS = range('0', '9');
export const WORDS = DIGITS | range('a', 'z') | range('A', 'Z') | single('_');
