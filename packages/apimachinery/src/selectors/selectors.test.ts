import { describe, expect, it } from 'vitest';
import { StatusError } from '../errors.ts';
import { formatFieldSelector, matchesFields, parseFieldSelector, requiredFieldValue } from './field-selector.ts';
import { formatLabelSelector, matchesLabels, parseLabelSelector, selectorOf, validateLabelSelector } from './label-selector.ts';

const objects = { a: { env: 'prod', tier: '1' }, b: { env: 'dev', tier: '2' }, c: { env: 'prod' }, d: {} };
const selected = (text: string): string =>
  Object.entries(objects)
    .filter(([, labels]) => matchesLabels(parseLabelSelector(text), labels as Record<string, string>))
    .map(([name]) => name)
    .join('');

describe('label selectors', () => {
  it.each([
    ['env=prod', 'ac'],
    ['env==prod', 'ac'],
    ['env!=prod', 'bd'],
    ['env=prod,tier=1', 'a'],
    ['env', 'abc'],
    ['!env', 'd'],
    ['tier=', ''],
    ['env in (prod,dev)', 'abc'],
    ['env notin (prod)', 'bd'],
    ['env in (prod),!tier', 'c'],
    ['env in (prod , dev),tier!=2', 'ac'],
    ['env in ()', ''],
    ['tier>1', 'b'],
    ['tier<2', 'a'],
    ['', 'abcd'],
  ])('%s selects %s', (text, names) => {
    expect(selected(text)).toBe(names);
    expect(selected(formatLabelSelector(parseLabelSelector(text)))).toBe(names);
  });

  it.each([
    ['env=pr od', "found 'od', expected: ',' or 'end of string'"],
    ['=x', "found '=', expected: !, identifier, or 'end of string'"],
    ['env in prod', "unable to parse requirement: found 'prod' expected: '('"],
    ['a b', "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"],
    ['env in (', "unable to parse requirement: found '', expected: ',', ')' or identifier"],
    [
      'tier>x',
      "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
    ],
  ])('refuses %s', (text, message) => {
    expect(() => parseLabelSelector(text)).toThrow(message);
    expect(() => parseLabelSelector(text)).toThrow(StatusError);
  });

  it('reads selector objects; an absent one selects nothing, an empty one everything', () => {
    expect(selectorOf(undefined)).toBeUndefined();
    expect(matchesLabels(selectorOf({}) ?? [], undefined)).toBe(true);
    const selector = { matchLabels: { env: 'prod' }, matchExpressions: [{ key: 'tier', operator: 'Exists' }] };
    expect(matchesLabels(selectorOf(selector) ?? [], objects.a)).toBe(true);
    expect(matchesLabels(selectorOf(selector) ?? [], objects.c)).toBe(false);
    expect(validateLabelSelector({ matchExpressions: [{ key: 'a', operator: 'In' }] }, 's')[0]).toMatchObject({
      type: 'Required',
      path: 's.matchExpressions[0].values',
    });
  });
});

describe('field selectors', () => {
  it('parses, matches and escapes', () => {
    const selector = parseFieldSelector('metadata.name=a,status.phase!=Failed,x==1\\,2');
    const fields: Record<string, string> = { 'metadata.name': 'a', 'status.phase': 'Running', x: '1,2' };
    expect(matchesFields(selector, (field) => fields[field] ?? '')).toBe(true);
    expect(requiredFieldValue(selector, 'metadata.name')).toBe('a');
    expect(requiredFieldValue(selector, 'status.phase')).toBeUndefined();
    expect(parseFieldSelector(formatFieldSelector(selector))).toEqual(selector);
  });
  it('refuses what it does not understand', () => {
    expect(() => parseFieldSelector('metadata.name=a,broken')).toThrow(
      "invalid selector: 'metadata.name=a,broken'; can't understand 'broken'",
    );
  });
});
