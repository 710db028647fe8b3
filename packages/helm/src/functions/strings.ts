import { goQuote } from '../template/quote.ts';
import { define, FunctionError, type FunctionTable } from '../template/functions.ts';
import { formatValue } from '../template/format.ts';
import { type Int, isList, isNil, strings, typed, type Value, compareText } from '../template/values.ts';
import type { Budget } from '../template/budget.ts';
import { abbreviate, camelCase, kebabCase, snakeCase, swapCase, titleCase, wrapText } from './words.ts';
import { type FunctionSources, textOf, textsOf } from './context.ts';

const count = (value: Int): number => Number(value.value);
/** Cuts by bytes, as Go does. */
const cut = (text: string, from: number, to?: number): string => {
  const bytes = Buffer.from(text);
  return bytes.subarray(from, to).toString('utf8');
};

function trimSet(text: string, set: string): string {
  const chars = Array.from(text);
  let [from, to] = [0, chars.length];
  while (from < to && set.includes(chars[from] ?? '')) from++;
  while (to > from && set.includes(chars[to - 1] ?? '')) to--;
  return chars.slice(from, to).join('');
}

function substr(start: Int, end: Int, text: string): string {
  const [from, to, length] = [count(start), count(end), Buffer.byteLength(text)];
  if (from < 0) {
    if (to < 0 || to > length) throw new FunctionError(`runtime error: slice bounds out of range [:${to}] with length ${length}`);
    return cut(text, 0, to);
  }
  if (from > length) throw new FunctionError(`runtime error: slice bounds out of range [${from}:${length}]`);
  if (to < 0 || to > length) return cut(text, from);
  if (from > to) throw new FunctionError(`runtime error: slice bounds out of range [${from}:${to}]`);
  return cut(text, from, to);
}

function trunc(size: Int, text: string): string {
  const [wanted, length] = [count(size), Buffer.byteLength(text)];
  if (wanted < 0 && length + wanted > 0) return cut(text, length + wanted);
  return wanted >= 0 && length > wanted ? cut(text, 0, wanted) : text;
}

/** White space as Go's strings.TrimSpace sees it. */
export const trimSpace = (text: string): string => text.replace(/^[\s\u0085]+|[\s\u0085]+$/g, '');

function indent(budget: Budget, spaces: Int, text: string): string {
  if (count(spaces) < 0) throw new FunctionError('strings: negative Repeat count');
  const lines = text.split('\n').length;
  budget.grow(lines * count(spaces));
  const pad = ' '.repeat(count(spaces));
  return pad + text.replaceAll('\n', `\n${pad}`);
}

function repeat(budget: Budget, times: Int, text: string): string {
  if (count(times) < 0) throw new FunctionError('strings: negative Repeat count');
  budget.grow(count(times) * text.length);
  return text.repeat(count(times));
}

function replaceAll(budget: Budget, old: string, replacement: string, text: string): string {
  budget.grow(old === '' ? text.length * (replacement.length + 1) : Math.ceil(text.length / old.length) * replacement.length);
  return text.replaceAll(old, () => replacement);
}

function numbered(parts: readonly string[]): Value {
  return typed(new Map<string, Value>(parts.map((part, index) => [`_${index}`, part])), 'map[string]string');
}

/** strings.SplitN. */
export function splitN(text: string, separator: string, limit: number): string[] {
  if (limit === 0) return [];
  const parts = separator === '' ? Array.from(text) : text.split(separator);
  if (limit < 0 || parts.length <= limit) return parts;
  return [...parts.slice(0, limit - 1), parts.slice(limit - 1).join(separator)];
}

function joinTexts(budget: Budget, separator: string, list: Value): string {
  const texts = textsOf(list, budget);
  budget.grow(texts.reduce((sum, text) => sum + text.length + separator.length, 0));
  return texts.join(separator);
}

/** Sprig's functions on texts. */
export function stringFunctions({ budget }: FunctionSources): FunctionTable {
  return {
    ...trimming(),
    ...quoting(budget),
    ...words(),
    contains: define('string string', (part: string, text: string) => text.includes(part)),
    hasPrefix: define('string string', (part: string, text: string) => text.startsWith(part)),
    hasSuffix: define('string string', (part: string, text: string) => text.endsWith(part)),
    repeat: define('int string', (times: Int, text: string) => repeat(budget, times, text)),
    substr: define('int int string', substr),
    trunc: define('int string', trunc),
    replace: define('string string string', (old: string, by: string, text: string) => replaceAll(budget, old, by, text)),
    indent: define('int string', (spaces: Int, text: string) => indent(budget, spaces, text)),
    nindent: define('int string', (spaces: Int, text: string) => `\n${indent(budget, spaces, text)}`),
    plural: define('string string int', (one: string, many: string, n: Int) => (n.value === 1n ? one : many)),
    toString: define('any', (value: Value) => textOf(value, budget)),
    toStrings: define('any', (value: Value) => strings(textsOf(value, budget))),
    join: define('string any', (separator: string, list: Value) => joinTexts(budget, separator, list)),
    split: define('string string', (separator: string, text: string) => numbered(splitN(text, separator, -1))),
    splitn: define('string int string', (separator: string, n: Int, text: string) => numbered(splitN(text, separator, count(n)))),
    splitList: define('string string', (separator: string, text: string) => strings(splitN(text, separator, -1))),
    sortAlpha: define('any', (list: Value) =>
      strings(isList(list) ? textsOf(list, budget).sort(compareText) : [textOf(list, budget)]),
    ),
    hello: define('', () => 'Hello!'),
  };
}

function trimming(): FunctionTable {
  const trimAll = define('string string', (set: string, text: string) => trimSet(text, set));
  return {
    trim: define('string', trimSpace),
    trimAll,
    trimall: trimAll,
    trimSuffix: define('string string', (part: string, text: string) =>
      part !== '' && text.endsWith(part) ? text.slice(0, -part.length) : text,
    ),
    trimPrefix: define('string string', (part: string, text: string) => (text.startsWith(part) ? text.slice(part.length) : text)),
    nospace: define('string', (text: string) => text.replace(/\s/g, '')),
  };
}

function quoting(budget: Budget): FunctionTable {
  const all = (values: readonly Value[], quote: (text: string) => string): string =>
    values
      .filter((value) => !isNil(value))
      .map((value) => quote(textOf(value, budget)))
      .join(' ');
  return {
    quote: define('...any', (...values: Value[]) => all(values, (text) => goQuote(text))),
    squote: define('...any', (...values: Value[]) => all(values, (text) => `'${text}'`)),
    cat: define('...any', (...values: Value[]) =>
      values
        .filter((value) => !isNil(value))
        .map((value) => formatValue(value, budget))
        .join(' '),
    ),
  };
}

function words(): FunctionTable {
  return {
    upper: define('string', (text: string) => text.toUpperCase()),
    lower: define('string', (text: string) => text.toLowerCase()),
    title: define('string', titleCase),
    untitle: define('string', (text: string) =>
      text.replace(/(^|\s)(\S)/gu, (_all, gap: string, first: string) => gap + first.toLowerCase()),
    ),
    swapcase: define('string', swapCase),
    snakecase: define('string', snakeCase),
    camelcase: define('string', camelCase),
    kebabcase: define('string', kebabCase),
    initials: define('string', (text: string) =>
      text
        .split(/\s+/)
        .map((word) => Array.from(word)[0] ?? '')
        .join(''),
    ),
    abbrev: define('int string', (width: Int, text: string) => abbreviate(text, 0, count(width))),
    abbrevboth: define('int int string', (left: Int, right: Int, text: string) => abbreviate(text, count(left), count(right))),
    wrap: define('int string', (width: Int, text: string) => wrapText(text, count(width), '\n', false)),
    wrapWith: define('int string string', (width: Int, separator: string, text: string) =>
      wrapText(text, count(width), separator, true),
    ),
  };
}
