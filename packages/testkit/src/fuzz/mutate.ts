import type { Random } from './random.ts';

const NASTY_TEXT = [
  ...[
    '',
    ' ',
    '\0',
    '\u{1F600}',
    '\uD800',
    '__proto__',
    'constructor',
    'toString',
    'prototype',
    'length',
    '..',
    '/',
    '~0~1',
    '-',
  ],
  ...['a'.repeat(300), '%00', '%', '{{', '${x}', "'", '"', '\\', '\n', 'true', 'null', '0', '-1', '1e309', '9007199254740993'],
];
const NASTY_NUMBERS = [0, -0, -1, 1, 0.5, 1e21, -1e21, 2 ** 31, 2 ** 53, 2 ** 63, Number.MAX_VALUE, 5e-324];

/** A JSON value of any shape, biased to `words` for texts and keys. */
export function randomJson(random: Random, words: readonly string[] = [], depth = 4): unknown {
  const text = (): string => (words.length > 0 && random.chance(0.6) ? random.pick(words) : random.pick(NASTY_TEXT));
  switch (random.below(depth > 0 ? 8 : 5)) {
    case 0:
      return null;
    case 1:
      return random.chance(0.5);
    case 2:
      return random.pick(NASTY_NUMBERS);
    case 3:
    case 4:
      return text();
    case 5:
      return Array.from({ length: random.below(4) }, () => randomJson(random, words, depth - 1));
    default:
      // own fields even for __proto__, as JSON.parse makes them
      return Object.fromEntries(Array.from({ length: random.below(5) }, () => [text(), randomJson(random, words, depth - 1)]));
  }
}

/** A copy of a JSON value with something changed, removed or added somewhere. */
export function mutateJson(random: Random, value: unknown, words: readonly string[] = []): unknown {
  if (random.chance(0.1)) return randomJson(random, words, 3);
  if (Array.isArray(value)) {
    if (value.length === 0 || random.chance(0.2)) return [...value, randomJson(random, words, 2)];
    const index = random.below(value.length);
    if (random.chance(0.2)) return value.filter((_, at) => at !== index);
    return value.map((item: unknown, at) => (at === index ? mutateJson(random, item, words) : item));
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value);
    if (entries.length === 0 || random.chance(0.2))
      return Object.fromEntries([...entries, [random.pick([...words, ...NASTY_TEXT]), randomJson(random, words, 2)]]);
    const index = random.below(entries.length);
    if (random.chance(0.15)) return Object.fromEntries(entries.filter((_, at) => at !== index));
    return Object.fromEntries(
      entries.map(([key, item], at) => [key, at === index ? mutateJson(random, item, words) : item] as const),
    );
  }
  return random.chance(0.5) ? random.pick(NASTY_TEXT) : randomJson(random, words, 1);
}

/** Bytes with some of them changed, cut out, repeated or swapped for a piece of another sample. */
export function mutateBytes(random: Random, sample: Uint8Array, others: readonly Uint8Array[] = []): Buffer {
  let bytes = Buffer.from(sample);
  for (let round = random.below(4); round >= 0; round--) {
    const at = random.below(bytes.length + 1);
    const end = at + random.below(Math.min(64, bytes.length - at + 1));
    switch (random.below(5)) {
      case 0:
        if (at < bytes.length) bytes[at] = random.below(256);
        break;
      case 1:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), random.bytes(16), bytes.subarray(at)]);
        break;
      default: {
        const other = Buffer.from(others.length > 0 ? random.pick(others) : bytes);
        bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(random.below(other.length + 1))]);
      }
    }
  }
  return bytes.subarray(0, 1 << 16);
}

/** A text made of the given pieces in any order, now and then with other characters in between. */
export function randomText(random: Random, pieces: readonly string[], maxPieces = 12): string {
  const parts = Array.from({ length: random.below(maxPieces + 1) }, () =>
    random.chance(0.93) ? random.pick(pieces) : random.pick(NASTY_TEXT),
  );
  return parts.join('');
}
