/** A random whole number from 0 to below `limit`. */
export type RandomBelow = (limit: number) => number;

const LOWER = 'abcdefghijklmnopqrstuvwxyz';
const UPPER = LOWER.toUpperCase();
const DIGITS = '0123456789';
const SYMBOLS = '~!@#$%^&*()-_+={}[]\\|<,>.?/"\';:`';
const ALPHABET = LOWER + UPPER + DIGITS + SYMBOLS;
const CLASSES: Readonly<Record<string, string>> = {
  '\\w': `${LOWER}${UPPER}${DIGITS}_`,
  '\\d': DIGITS,
  '\\a': LOWER + UPPER + DIGITS,
  '\\A': SYMBOLS,
};
const GROUP = /\[([a-zA-Z0-9\-\\]+)\](?:\{([0-9]+)\})/g;
const PART = /\\[wdaA]|[a-zA-Z0-9]-[a-zA-Z0-9]/g;
const MAX_LENGTH = 255;

/** Text with each `[a-z0-9]{8}` replaced by random letters; the last letter of a range is not drawn. */
export function generateExpression(from: string, random: RandomBelow): string {
  return from.replace(GROUP, (all, ranges: string, length: string) => {
    const count = Number(length);
    if (count < 1 || count > MAX_LENGTH) throw new Error(`range must be within [1-255] characters (${count})`);
    const letters = lettersOf(ranges, all);
    return Array.from({ length: count }, () => letters.charAt(random(letters.length))).join('');
  });
}

function lettersOf(ranges: string, all: string): string {
  const parts = ranges.match(PART) ?? [];
  // KubeVirt-compat: the field's processor spells it so, and clients compare it
  if (parts.length === 0 || parts.join('') !== ranges) throw new Error(`malformed expresion syntax: ${all}`);
  return [...new Set(parts.flatMap((part) => Array.from(CLASSES[part] ?? rangeOf(part))))].join('');
}

function rangeOf(part: string): string {
  const [left, right] = [ALPHABET.indexOf(part.charAt(0)), ALPHABET.indexOf(part.charAt(2))];
  if (right < left) throw new Error(`invalid range specified: ${part}`);
  // KubeVirt-compat: the end is exclusive; a range of one letter is that letter
  return ALPHABET.slice(left, Math.max(right, left + 1));
}
