import { RE2JS } from 're2js';
import { describe, expect, it } from 'vitest';
import { isLinear } from './linear.ts';
import { parseSimple } from './parse-simple.ts';
import { findAll, findFirst, patternComplaint, patternOf } from './pattern.ts';

const QUANTITY =
  '^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$';
const SUBDOMAIN = '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$';

/** Pattern, whether the quick engine may run it, texts that match, texts that do not. */
const CASES: readonly (readonly [string, boolean, readonly string[], readonly string[]])[] = [
  ['^[a-z]+$', true, ['a', 'abc'], ['', 'A', 'a\n', 'aé']],
  ['^a|b$', false, ['ax', 'xb'], ['xax']],
  ['a|b', true, ['xa', 'b'], ['', 'x']],
  ['^(a|b)*c$', true, ['c', 'abc'], ['ab']],
  ['^(a|ab)*c$', false, ['ababc'], ['abb']],
  ['^(a+)+$', false, ['aaa'], ['b']],
  ['(a+)+$', false, ['ba'], ['b']],
  ['a+', false, ['bab'], ['b']],
  ['^a?a?b$', true, ['aab', 'b'], ['aaab']],
  [`^${'a?'.repeat(6)}a$`, false, ['aaa'], ['']],
  ['^(ab?c)*$', true, ['', 'acabc'], ['ab']],
  ['^(a?)*$', false, ['aa'], ['b']],
  ['^a{2,3}$', true, ['aa', 'aaa'], ['a', 'aaaa']],
  ['^(a{30}){30}$', true, ['a'.repeat(900)], ['a'.repeat(899)]],
  ['^[a-z]{1,63}(-[0-9]+)?$', true, ['ab-1', 'x'], ['ab-', '-1']],
  ['^[^/]+/[^/]+$', true, ['a/b', 'é/😀'], ['a', 'a/b/c']],
  ['^[^a]{2}$', true, ['😀😀'], ['😀']],
  ['^\\d+\\.\\w*$', true, ['1.', '12.a_1'], ['.', '1.é']],
  ['^[\\w.-]+$', true, ['a-b.c'], ['a b']],
  ['^\\[[\\]^-]\\]$', true, ['[^]', '[]]', '[-]'], ['[a]']],
  ['.', true, ['a', '\r', '\u2028'], ['', '\n']],
  ['^.{1,1000}$', true, ['a', 'é😀'.repeat(400)], ['', 'a\n', 'a'.repeat(1001)]],
  ['^.*$', true, ['', 'a'], ['a\n']],
  ['^.*a$', false, ['ba'], ['ab']],
  ['^\\s$', false, [' ', '\t'], ['\u00a0', '\v']],
  ['(?i)^abc$', false, ['ABC'], ['ab']],
  ['\\Aab\\z', false, ['ab'], ['ab\n']],
  ['^\\pL+$', false, ['é'], ['1']],
  ['^[[:alpha:]]+$', false, ['a'], ['1']],
  ['', true, ['', 'a'], []],
  ['^$', true, [''], ['a']],
  [QUANTITY, true, ['10Gi', '1e3', '.5', '-1.5M'], ['Gi', '1KK', '1e']],
  [SUBDOMAIN, false, ['a.b-c', 'a'], ['a-', '.a']],
];

describe('patterns', () => {
  it.each(CASES)('%s', (source, isQuick, good, bad) => {
    const simple = parseSimple(source);
    expect(simple !== undefined && isLinear(simple)).toBe(isQuick);
    for (const text of good) expect(patternOf(source).test(text), text).toBe(true);
    for (const text of bad) expect(patternOf(source).test(text), text).toBe(false);
  });

  it.each(CASES)('%s is the same to RE2', (source, _isQuick, good, bad) => {
    const reference = RE2JS.compile(source);
    for (const text of [...good, ...bad]) expect(patternOf(source).test(text), text).toBe(reference.test(text));
  });

  it.each([
    ['a(?=b)', 'invalid or unsupported Perl syntax'],
    ['(a)\\1', 'invalid escape sequence'],
    ['a{1001}', 'invalid repeat count'],
    ['((a{100}){100}){100}', 'invalid repeat count'],
    ['^((a{100}){100}){100}$', 'invalid repeat count'],
    ['a**', 'invalid nested repetition operator'],
    ['(', 'missing closing )'],
    ['[b-a]', 'invalid character class range'],
    ['\\u0041', 'invalid escape sequence'],
    ['a'.repeat(20_000), 'exceeds'],
  ])('refuses %s', (source, why) => {
    expect(patternComplaint(source)).toContain(why);
    expect(() => patternOf(source)).toThrow(why);
  });

  it('ends in time whatever the text', () => {
    const text = `${'a'.repeat(100_000)}!`;
    for (const source of ['(a+)+$', '^(a|a?)+$', '(a|aa)+$', '^(\\w+\\s?)*$', SUBDOMAIN, '^[a-z]+$']) {
      expect(patternOf(source).test(text)).toBe(false);
    }
  });

  it('finds matches from left to right', () => {
    expect(findFirst('abc 123 45', '[0-9]+')).toBe('123');
    expect(findFirst('abc', '[0-9]+')).toBeUndefined();
    expect(findAll('abc 123 45', '[0-9]+')).toEqual(['123', '45']);
    expect(findAll('123 45 6', '[0-9]+', 2)).toEqual(['123', '45']);
    expect(findAll('aa', 'b*')).toEqual(['', '', '']);
  });
});
