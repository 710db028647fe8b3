import { getOwn, isObject } from './json.ts';

type Step =
  | { readonly kind: 'field'; readonly name: string }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'slice'; readonly from: number | undefined; readonly to: number | undefined }
  | { readonly kind: 'wildcard' }
  | { readonly kind: 'descend'; readonly name: string }
  | { readonly kind: 'filter'; readonly path: readonly Step[]; readonly operator: string; readonly operand: unknown };

/** A parsed path; evaluate with `findAll`. */
export type JsonPath = readonly Step[];

const FIELD = /\.((?:\\.|[^.[\]'"{}()\s@?*\\])+)/y;
const QUOTED = /\[\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\s*\]/y;
const INDEX = /\[\s*(-?\d+)\s*\]/y;
const SLICE = /\[\s*(-?\d*)\s*:\s*(-?\d*)\s*\]/y;
const WILDCARD = /\[\s*\*\s*\]|\.\*/y;
const DESCEND = /\.\.((?:\\.|[^.[\]'"{}()\s@?*\\])+)/y;
const FILTER = /\[\?\(\s*@((?:[^=!<>()]|\\.)*?)\s*(?:(==|!=|<=|>=|<|>)\s*((?:'[^']*')|(?:"[^"]*")|[^)\s]+)\s*)?\)\]/y;

/** Parses the subset kubectl printer columns use. Throws Error saying where it stopped. */
export function parseJsonPath(source: string): JsonPath {
  const text = source.startsWith('{') && source.endsWith('}') ? source.slice(1, -1) : source;
  const steps: Step[] = [];
  let position = text.startsWith('$') ? 1 : 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position;
    const match = pattern.exec(text);
    if (match !== null) position += match[0].length;
    return match;
  };
  while (position < text.length) {
    const step = parseStep(take);
    if (step === undefined) {
      if (text.slice(position) === '.') break; // a lone dot is the whole object
      throw new Error(`unrecognized character in JSONPath at ${position}: ${text.slice(position)}`);
    }
    steps.push(step);
  }
  return steps;
}

function parseStep(take: (pattern: RegExp) => RegExpExecArray | null): Step | undefined {
  let match = take(DESCEND);
  if (match !== null) return { kind: 'descend', name: unescape(match[1] ?? '') };
  if (take(WILDCARD) !== null) return { kind: 'wildcard' };
  match = take(FIELD);
  if (match !== null) return { kind: 'field', name: unescape(match[1] ?? '') };
  match = take(QUOTED);
  if (match !== null) return { kind: 'field', name: unescape(match[1] ?? match[2] ?? '') };
  match = take(INDEX);
  if (match !== null) return { kind: 'index', index: Number(match[1]) };
  match = take(SLICE);
  if (match !== null) return { kind: 'slice', from: optionalNumber(match[1]), to: optionalNumber(match[2]) };
  match = take(FILTER);
  return match === null ? undefined : parseFilter(match);
}

const unescape = (text: string): string => text.replace(/\\(.)/g, '$1');
const optionalNumber = (text: string | undefined): number | undefined => (text ? Number(text) : undefined);

function parseFilter([, path = '', operator = '', operand = '']: RegExpExecArray): Step {
  return { kind: 'filter', path: parseJsonPath(path), operator, operand: parseOperand(operand) };
}

function parseOperand(text: string): unknown {
  if (/^['"]/.test(text)) return text.slice(1, -1);
  if (text === 'true' || text === 'false') return text === 'true';
  const number = Number(text);
  return text !== '' && !Number.isNaN(number) ? number : text;
}

/** Every value the path selects, in document order; empty when nothing matches. */
export function findAll(root: unknown, path: JsonPath): unknown[] {
  let current: unknown[] = [root];
  for (const step of path) {
    const next: unknown[] = [];
    for (const value of current) collect(value, step, next);
    current = next;
  }
  return current;
}

function collect(value: unknown, step: Step, out: unknown[]): void {
  switch (step.kind) {
    case 'field':
      if (isObject(value) && Object.hasOwn(value, step.name)) out.push(getOwn(value, step.name));
      return;
    case 'index': {
      const item: unknown = Array.isArray(value) ? value.at(step.index) : undefined;
      if (item !== undefined) out.push(item);
      return;
    }
    case 'slice':
      if (Array.isArray(value)) out.push(...value.slice(step.from, step.to));
      return;
    case 'wildcard':
      out.push(...children(value));
      return;
    case 'descend':
      descend(value, step.name, out);
      return;
    case 'filter':
      for (const child of children(value)) if (passes(child, step)) out.push(child);
  }
}

function children(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  return isObject(value) ? Object.values(value) : [];
}

function descend(value: unknown, name: string, out: unknown[]): void {
  if (isObject(value) && Object.hasOwn(value, name)) out.push(getOwn(value, name));
  for (const child of children(value)) descend(child, name, out);
}

function passes(value: unknown, { path, operator, operand }: Extract<Step, { kind: 'filter' }>): boolean {
  const found = findAll(value, path);
  if (operator === '') return found.length > 0;
  const left = found[0];
  switch (operator) {
    case '==':
      return left === operand;
    case '!=':
      return found.length > 0 && left !== operand;
    default:
      return typeof left === typeof operand && ordered(left as number, operand as number, operator); // numbers, or strings which compare alike
  }
}

function ordered(left: number, right: number, operator: string): boolean {
  if (operator === '<') return left < right;
  if (operator === '<=') return left <= right;
  return operator === '>' ? left > right : left >= right;
}
