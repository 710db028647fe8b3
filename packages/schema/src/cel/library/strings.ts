import { findAll, findFirst, patternOf } from '../../patterns/pattern.ts';
import { replacement } from '../environment-names.ts';
import { formatText } from './format-text.ts';
import type { Registrar } from './register.ts';

/** Characters are code points; most texts have none beyond the first plane. */
const isPlain = (text: string): boolean => !/[\ud800-\udfff]/.test(text);
const points = (text: string): string[] => Array.from(text);

function indexOf(text: string, part: string, from: number): number {
  if (isPlain(text)) return text.indexOf(part, from);
  const found = text.indexOf(part, points(text).slice(0, from).join('').length);
  return found === -1 ? -1 : points(text.slice(0, found)).length;
}

function lastIndexOf(text: string, part: string, from: number): number {
  const units = isPlain(text) ? from : points(text).slice(0, from).join('').length;
  const found = text.lastIndexOf(part, units);
  return found === -1 ? -1 : points(text.slice(0, found)).length;
}

function checkRange(index: bigint, limit: number): number {
  if (index < 0n || index > BigInt(limit)) throw new Error(`index out of range: ${index}`);
  return Number(index);
}

function substring(text: string, start: bigint, end?: bigint): string {
  const all = isPlain(text) ? undefined : points(text);
  const length = all?.length ?? text.length;
  const from = checkRange(start, length);
  const to = end === undefined ? length : checkRange(end, length);
  if (from > to) throw new Error(`invalid substring range. start: ${from}, end: ${to}`);
  return all === undefined ? text.slice(from, to) : all.slice(from, to).join('');
}

function replaceText(text: string, old: string, next: string, limit: bigint): string {
  if (limit < 0n) return text.replaceAll(old, () => next);
  let left = Number(limit);
  return text.replaceAll(old, () => (left-- > 0 ? next : old));
}

function split(text: string, separator: string, limit: bigint): string[] {
  const parts = separator === '' ? points(text) : text.split(separator);
  if (limit < 0n || BigInt(parts.length) <= limit) return parts;
  if (limit === 0n) return [];
  const kept = Number(limit) - 1;
  return [...parts.slice(0, kept), parts.slice(kept).join(separator)];
}

function charAt(text: string, index: bigint): string {
  const all = isPlain(text) ? text : points(text);
  return all[checkRange(index, all.length)] ?? '';
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '\\': '\\\\',
  '"': '\\"',
};

/** Functions of texts, counted in characters, and regular expressions of RE2. */
export function registerStrings({ on, namespace }: Registrar): void {
  on('string.charAt(int): string', charAt);
  on(`string.${replacement('indexOf')}(string): int`, (text: string, part: string) => BigInt(indexOf(text, part, 0)));
  on(`string.${replacement('indexOf')}(string, int): int`, (text: string, part: string, from: bigint) =>
    BigInt(indexOf(text, part, checkRange(from, text.length))),
  );
  on(`string.${replacement('lastIndexOf')}(string): int`, (text: string, part: string) =>
    BigInt(lastIndexOf(text, part, Number.POSITIVE_INFINITY)),
  );
  on(`string.${replacement('lastIndexOf')}(string, int): int`, (text: string, part: string, from: bigint) =>
    BigInt(lastIndexOf(text, part, checkRange(from, text.length))),
  );
  on(`string.${replacement('substring')}(int): string`, (text: string, start: bigint) => substring(text, start));
  on(`string.${replacement('substring')}(int, int): string`, substring);
  on(`string.${replacement('lowerAscii')}(): string`, (text: string) => text.replace(/[A-Z]+/g, (part) => part.toLowerCase()));
  on(`string.${replacement('upperAscii')}(): string`, (text: string) => text.replace(/[a-z]+/g, (part) => part.toUpperCase()));
  on(`string.${replacement('split')}(string): list<string>`, (text: string, separator: string) => split(text, separator, -1n));
  on(`string.${replacement('split')}(string, int): list<string>`, split);
  on('string.replace(string, string): string', (text: string, old: string, next: string) => replaceText(text, old, next, -1n));
  on('string.replace(string, string, int): string', replaceText);
  on('string.reverse(): string', (text: string) => points(text).toReversed().join(''));
  on('string.format(list): string', formatText);
  const strings = namespace('strings');
  on(
    `${strings}.quote(string): string`,
    (_strings: unknown, text: string) =>
      `"${points(text)
        .map((char) => ESCAPES[char] ?? char)
        .join('')}"`,
  );
  on(`string.${replacement('matches')}(string): bool`, (text: string, pattern: string) => patternOf(pattern).test(text));
  on('string.find(string): string', (text: string, pattern: string) => findFirst(text, pattern) ?? '');
  on('string.findAll(string): list<string>', (text: string, pattern: string) => findAll(text, pattern));
  on('string.findAll(string, int): list<string>', (text: string, pattern: string, limit: bigint) =>
    findAll(text, pattern, limit < 0n ? Number.POSITIVE_INFINITY : Number(limit)),
  );
}
