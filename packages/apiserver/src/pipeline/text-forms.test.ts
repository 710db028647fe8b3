import { describe, expect, it } from 'vitest';
import { duplicateFields } from './duplicate-fields.ts';
import { parseYaml } from './yaml.ts';
import { toYaml } from '@slipway/apimachinery';

describe('duplicateFields', () => {
  it.each<[string, string[]]>([
    ['{"a":1,"b":{"a":2}}', []],
    ['{"a":1,"a":2}', ['a']],
    ['{"list":[{"x":1},{"x":1,"y":"{\\"x\\":1,","x":2}]}', ['list[1].x']],
    ['{"text":"a,\\"a\\":1","a":{"b":[],"b":[]}}', ['a.b']],
  ])('%s', (text, expected) => {
    expect(duplicateFields(text)).toEqual(expected);
  });
});

describe('YAML', () => {
  it.each<[string, unknown]>([
    ['a: yes', { a: true }],
    ['on: 1', { true: 1 }],
    ['mode: 0644', { mode: 420 }],
    ['when: 2024-01-02T03:04:05Z', { when: '2024-01-02T03:04:05Z' }],
    ['a: "yes"', { a: 'yes' }],
  ])('reads %s', (text, expected) => {
    expect(parseYaml(text)).toEqual(expected);
  });

  it.each<[unknown, string]>([
    [{ b: [], a: {} }, 'a: {}\nb: []\n'],
    [{ list: [{ y: 'no', x: '1' }] }, 'list:\n- x: "1"\n  "y": "no"\n'],
    [{ text: 'one\ntwo\n', odd: 'a: b' }, "odd: 'a: b'\ntext: |\n  one\n  two\n"],
  ])('writes %j', (value, expected) => {
    expect(toYaml(value)).toBe(expected);
    expect(parseYaml(expected)).toEqual(value);
  });
});
