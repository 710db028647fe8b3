import { RE2JS } from 're2js';
import { type Random, fuzz, randomText } from '@slipway/testkit';
import { expect, it } from 'vitest';
import { findAll, findFirst, patternComplaint, patternOf } from './pattern.ts';

const PIECES = [
  ...['a', 'b', 'ab', '-', '.', '\\.', '\\d', '\\w', '[a-z]', '[^a]', '[-a-c.]', '[0-9]', '\\-', '/', 'é'],
  ...['(', '(?:', ')', '|', '*', '+', '?', '{2}', '{1,3}', '{0,}', '^', '$', '[', ']', '{', '}', '\\'],
  ...['(a|b)*', '(a|ab)*', '(a+)+', '(?i)', '(?=a)', '\\1', '\\s', '[[:alpha:]]', '\\pL', '.*', '{1000}', '+?', '\\z'],
];
const TEXTS = ['a', 'b', 'ab', '-', '.', '1', '9', '_', '/', 'A', 'é', '😀', '\n', ' ', 'aaaaaaaaaaaaaaaa', '{', '[', '\\'];

const textOf = (random: Random, pieces: readonly string[], max: number): string =>
  Buffer.from(randomText(random, pieces, max)).toString();

function patternFrom(random: Random, pieces = PIECES): string {
  const body = textOf(random, pieces, 9);
  return random.chance(0.5) ? `^${body}$` : body;
}

it('decides as RE2 does, whichever engine it gives a pattern to', async () => {
  await fuzz({
    name: 'patterns',
    inputs: 1500,
    make: (random) => ({ source: patternFrom(random), texts: Array.from({ length: 4 }, () => textOf(random, TEXTS, 8)) }),
    run({ source, texts }) {
      let reference: RE2JS;
      try {
        reference = RE2JS.compile(source);
      } catch {
        expect(patternComplaint(source)).toBeDefined();
        return;
      }
      expect(patternComplaint(source)).toBeUndefined();
      for (const text of texts) expect(patternOf(source).test(text), text).toBe(reference.test(text));
    },
  });
});

it('needs time in proportion to the text', async () => {
  // a program of thousands of steps takes that many steps for each character, in any engine
  const short = PIECES.filter((piece) => piece !== '{1000}');
  const tails = ['!', '', 'b', '-', '.'];
  await fuzz({
    name: 'long texts',
    inputs: 300,
    make: (random) => ({
      source: patternFrom(random, short),
      text: `${random.pick(['a', 'ab', '1', '-a', 'a.']).repeat(random.pick([10, 100, 1000]))}${random.pick(tails)}`,
    }),
    run({ source, text }) {
      if (patternComplaint(source) !== undefined) return;
      patternOf(source).test(text);
      findFirst(text, source);
      findAll(text, source, 100);
    },
  });
});
