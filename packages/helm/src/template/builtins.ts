import type { Budget } from './budget.ts';
import { isEqual, order } from './compare.ts';
import { sprint, sprintf, sprintln } from './format.ts';
import { define, FunctionError, type FunctionTable } from './functions.ts';
import { Int, int, isBytes, isFunction, isList, isNil, isTrue, mapOf, typed, typeName, type Value } from './values.ts';

/** The functions that every Go template has; `and` and `or` are evaluated by the executor. */
export function builtins(budget: Budget): FunctionTable {
  return {
    // evaluated lazily: these stand for the number of arguments
    and: define(
      'any ...any',
      (first: Value, ...rest: Value[]) => [first, ...rest].find((value) => !isTrue(value)) ?? rest.at(-1),
    ),
    or: define('any ...any', (first: Value, ...rest: Value[]) => [first, ...rest].find(isTrue) ?? rest.at(-1)),
    not: define('any', (value: Value) => !isTrue(value)),
    eq: define('any ...any', (first: Value, ...others: Value[]) => isEqual(first, others)),
    ne: define('any any', (a: Value, b: Value) => !isEqual(a, [b])),
    lt: define('any any', (a: Value, b: Value) => order(a, b) < 0),
    le: define('any any', (a: Value, b: Value) => order(a, b) <= 0),
    gt: define('any any', (a: Value, b: Value) => order(a, b) > 0),
    ge: define('any any', (a: Value, b: Value) => order(a, b) >= 0),
    len: define('any', (value: Value) => int(lengthOf(value))),
    index: define('any ...any', (value: Value, ...keys: Value[]) => keys.reduce(indexOne, value)),
    slice: define('any ...any', (value: Value, ...bounds: Value[]) => slice(value, bounds)),
    call: define('any ...any', (callee: Value, ...args: Value[]) => call(callee, args)),
    print: define('...any', (...values: Value[]) => sprint(values, budget)),
    println: define('...any', (...values: Value[]) => sprintln(values, budget)),
    printf: define('string ...any', (format: string, ...values: Value[]) => sprintf(format, values, budget)),
    html: define('...any', (...values: Value[]) => escapeHtml(textOf(values, budget))),
    js: define('...any', (...values: Value[]) => escapeJs(textOf(values, budget))),
    urlquery: define('...any', (...values: Value[]) => queryEscape(textOf(values, budget))),
  };
}

const textOf = (values: readonly Value[], budget: Budget): string => {
  const [first] = values;
  return values.length === 1 && typeof first === 'string' ? first : sprint(values, budget);
};

function lengthOf(value: Value): number {
  if (isNil(value)) throw new FunctionError('len of nil pointer');
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (isList(value) || isBytes(value)) return value.length;
  const map = mapOf(value);
  if (map) return map.size;
  throw new FunctionError(`len of type ${typeName(value)}`);
}

function indexOne(container: Value, key: Value): Value {
  if (isNil(container)) throw new FunctionError('index of untyped nil');
  const map = mapOf(container);
  if (map) {
    if (isNil(key)) throw new FunctionError('value is nil; should be of type string');
    if (typeof key !== 'string') throw new FunctionError(`value has type ${typeName(key)}; should be string`);
    return map.get(key) ?? null;
  }
  if (typeof container !== 'string' && !isList(container) && !isBytes(container))
    throw new FunctionError(`can't index item of type ${typeName(container)}`);
  const bytes = typeof container === 'string' ? Buffer.from(container) : container;
  const at = indexArgument(key, bytes.length - 1);
  const item = bytes[at];
  return typeof item === 'number' && !isList(container) ? new Int(item, 'uint8') : item;
}

function indexArgument(key: Value, last: number): number {
  if (isNil(key)) throw new FunctionError('cannot index slice/array with nil');
  if (!(key instanceof Int)) throw new FunctionError(`cannot index slice/array with type ${typeName(key)}`);
  if (key.value < 0n || key.value > BigInt(last)) throw new FunctionError(`index out of range: ${key.value}`);
  return Number(key.value);
}

function slice(value: Value, bounds: readonly Value[]): Value {
  if (isNil(value)) throw new FunctionError('slice of untyped nil');
  if (bounds.length > 3) throw new FunctionError(`too many slice indexes: ${bounds.length}`);
  if (typeof value !== 'string' && !isList(value)) throw new FunctionError(`can't slice item of type ${typeName(value)}`);
  if (typeof value === 'string' && bounds.length === 3) throw new FunctionError('cannot 3-index slice a string');
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  const [from = 0, to = bytes.length] = bounds.map((bound) => indexArgument(bound, bytes.length));
  if (from > to) throw new FunctionError(`invalid slice index: ${from} > ${to}`);
  if (typeof value === 'string') return Buffer.from(value).subarray(from, to).toString('utf8');
  return typed(value.slice(from, to), typeName(value));
}

function call(callee: Value, args: Value[]): Value {
  if (isNil(callee)) throw new FunctionError('call of nil');
  if (!isFunction(callee)) throw new FunctionError(`non-function ${typeName(callee)}`);
  const { parameters, rest } = callee;
  if (args.length < parameters.length || (rest === undefined && args.length > parameters.length))
    throw new FunctionError(`wrong number of args: got ${args.length} want ${rest ? 'at least ' : ''}${parameters.length}`);
  return callee.call(args);
}

const HTML: Readonly<Record<string, string>> = {
  '"': '&#34;',
  "'": '&#39;',
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '\0': '\ufffd',
};
export const escapeHtml = (text: string): string => text.replace(/["'&<>\0]/g, (char) => HTML[char] ?? char);

const JS: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  "'": "\\'",
  '"': '\\"',
  '<': '\\u003C',
  '>': '\\u003E',
  '&': '\\u0026',
  '=': '\\u003D',
};
const escapeJs = (text: string): string =>
  text.replace(
    /[\\'"<>&=\p{Cc}]/gu,
    (char) => JS[char] ?? `\\u${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`,
  );

/** As Go's url.QueryEscape. */
export const queryEscape = (text: string): string =>
  encodeURIComponent(text)
    .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%20', '+');
