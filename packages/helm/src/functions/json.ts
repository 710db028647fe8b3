import type { Budget } from '../template/budget.ts';
import { FunctionError } from '../template/functions.ts';
import { fromData, Int, isBytes, isFunction, isList, isMap, isNil, mapOf, sortedKeys, type Value } from '../template/values.ts';

const DEEP = 500;

/** The value as JSON data: floats and integers become numbers, keys are sorted. */
export function toData(value: Value, budget: Budget, depth = 0): unknown {
  budget.step();
  if (depth > DEEP) throw new FunctionError('json: unsupported value: encountered a cycle');
  if (isNil(value)) return null;
  if (value instanceof Int) return Number.isSafeInteger(Number(value.value)) ? Number(value.value) : value.value;
  if (isBytes(value)) return Buffer.from(value).toString('base64');
  if (isList(value)) return value.map((item) => toData(item, budget, depth + 1));
  if (isMap(value)) return mapData(value, budget, depth);
  if (isFunction(value)) throw new FunctionError('json: unsupported type: func()');
  if (typeof value !== 'object') return numberChecked(value);
  const entries = mapOf(value);
  if (entries) return mapData(entries, budget, depth);
  return value.toJson ? value.toJson() : {};
}

function numberChecked(value: boolean | number | string): boolean | number | string {
  if (typeof value === 'number' && !Number.isFinite(value))
    throw new FunctionError(`json: unsupported value: ${Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf'}`);
  return value;
}

function mapData(map: ReadonlyMap<string, Value>, budget: Budget, depth: number): unknown {
  const data = Object.create(null) as Record<string, unknown>;
  for (const key of sortedKeys(new Map(map))) data[key] = toData(map.get(key), budget, depth + 1);
  return data;
}

interface JsonOptions {
  readonly escapesHtml: boolean;
  readonly indent?: string | undefined;
}

const HTML: Readonly<Record<string, string>> = {
  '<': '\\u003c',
  '>': '\\u003e',
  '&': '\\u0026',
  '\u2028': '\\u2028',
  '\u2029': '\\u2029',
};

/** As Go's encoding/json writes it. */
export function goJson(value: Value, budget: Budget, options: JsonOptions): string {
  const text = write(toData(value, budget), options, '\n');
  budget.grow(text.length);
  return text;
}

function write(data: unknown, options: JsonOptions, newline: string): string {
  if (data === null || data === undefined) return 'null';
  if (typeof data === 'string') return quoteJson(data, options.escapesHtml);
  if (typeof data === 'number') return jsonNumber(data);
  if (typeof data !== 'object') return String(data as boolean | bigint);
  const { indent } = options;
  const inner = indent === undefined ? '' : newline + indent;
  const outer = indent === undefined ? '' : newline;
  const colon = indent === undefined ? ':' : ': ';
  const items = Array.isArray(data)
    ? data.map((item) => write(item, options, newline + (indent ?? '')))
    : Object.keys(data).map(
        (key) =>
          quoteJson(key, options.escapesHtml) +
          colon +
          // the keys are those of the object
          write((data as Record<string, unknown>)[key], options, newline + (indent ?? '')),
      );
  const [open, close] = Array.isArray(data) ? ['[', ']'] : ['{', '}'];
  return items.length === 0 ? open + close : open + items.map((item) => inner + item).join(',') + outer + close;
}

function quoteJson(text: string, escapesHtml: boolean): string {
  const quoted = JSON.stringify(text);
  return escapesHtml
    ? quoted.replace(/[<>&\u2028\u2029]/g, (char) => HTML[char] ?? char)
    : quoted.replace(/[\u2028\u2029]/g, (char) => HTML[char] ?? char);
}

/** Go changes to exponents at the same sizes as JavaScript, with two digits at least for negative ones below ten. */
const jsonNumber = (value: number): string => (Object.is(value, -0) ? '-0' : String(value));

export type Read = { readonly value: Value } | { readonly complaint: string };

/** Parses JSON; every number is a float64. The complaint has the words of Go where they are known. */
export function readJson(text: string): Read {
  try {
    return { value: fromData(JSON.parse(text)) };
  } catch {
    return { complaint: complaintOf(text) };
  }
}

function complaintOf(text: string): string {
  const trimmed = text.trim();
  if (trimmed === '') return 'unexpected end of JSON input';
  if (!/^[[{"tfn\d-]/.test(trimmed)) return `invalid character '${trimmed[0]}' looking for beginning of value`;
  if (/^[{[]/.test(trimmed) && !/[}\]]$/.test(trimmed)) return 'unexpected end of JSON input';
  return 'invalid character in JSON input';
}
