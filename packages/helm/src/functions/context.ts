import { createHash } from 'node:crypto';
import type { Budget } from '../template/budget.ts';
import { formatValue } from '../template/format.ts';
import { FunctionError } from '../template/functions.ts';
import { Int, isBytes, isList, isNil, isTrue, isObject, kindName, type GoList, type Value } from '../template/values.ts';

/** What template functions may use of the outside; nothing else is reachable from a template. */
export interface FunctionSources {
  readonly budget: Budget;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly randomBytes: (count: number) => Uint8Array;
}

/** Sprig's idea of the text of a value. */
export function textOf(value: Value, budget: Budget): string {
  if (typeof value === 'string') return value;
  if (isBytes(value)) return Buffer.from(value).toString('utf8');
  return formatValue(value, budget);
}

/** Sprig's `empty`: as a false condition, except for structs. */
export const isEmpty = (value: Value): boolean => (isObject(value) && value.entries === undefined ? false : !isTrue(value));

/** The list in an argument; else Sprig's complaint. */
export function listArgument(value: Value, action: string): GoList {
  if (isList(value)) return value;
  throw new FunctionError(`Cannot ${action} on type ${kindName(value)}`);
}

/** Texts of a list's items; of a lone value; none of nil. */
export function textsOf(value: Value, budget: Budget): string[] {
  if (isNil(value)) return [];
  if (!isList(value)) return [textOf(value, budget)];
  return value.filter((item) => !isNil(item)).map((item) => textOf(item, budget));
}

/** Integer as spf13/cast reads one: texts too, in any base of Go; 0 for what is none. */
export function toBigInt(value: Value): bigint {
  if (value instanceof Int) return BigInt.asIntN(64, value.value);
  if (typeof value === 'number') return Number.isFinite(value) ? BigInt.asIntN(64, BigInt(Math.trunc(value))) : 0n;
  if (typeof value === 'boolean') return value ? 1n : 0n;
  return typeof value === 'string' ? (parseGoInteger(value.replace(/^([-+]?\d+)\.0*$/, '$1')) ?? 0n) : 0n;
}

/** `strconv.ParseInt(text, 0, 64)`. */
export function parseGoInteger(text: string): bigint | undefined {
  const match = /^([-+]?)(0[xX][0-9a-fA-F]+(?:_[0-9a-fA-F]+)*|0[bB][01_]+|0[oO]?[0-7_]+|[1-9]\d*(?:_\d+)*|0)$/.exec(text);
  if (match === null) return undefined;
  const digits = (match[2] ?? '').replaceAll('_', '');
  const size = /^0[0-7]+$/.test(digits) ? BigInt(`0o${digits.slice(1)}`) : BigInt(digits);
  const value = match[1] === '-' ? -size : size;
  return BigInt.asIntN(64, value) === value ? value : undefined;
}

/** Float as spf13/cast reads one. */
export function toFloat(value: Value): number {
  if (typeof value === 'number') return value;
  if (value instanceof Int) return Number(value.value);
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (typeof value !== 'string' || !/^[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$/.test(value)) return 0;
  return Number(value);
}

export const hashHex = (algorithm: string, text: string): string => createHash(algorithm).update(text).digest('hex');

/** Go's reflect.DeepEqual for the values of templates. */
export function deepEqual(a: Value, b: Value, budget: Budget): boolean {
  budget.step();
  if (isNil(a) || isNil(b)) return isNil(a) && isNil(b);
  if (a instanceof Int) return b instanceof Int && a.kind === b.kind && a.value === b.value;
  return deepEqualParts(a, b, budget);
}

function deepEqualParts(a: Value, b: Value, budget: Budget): boolean {
  if (isBytes(a) && isBytes(b)) return Buffer.compare(a, b) === 0;
  if (isList(a) && isList(b)) return a.length === b.length && a.every((item, index) => deepEqual(item, b[index], budget));
  if (a instanceof Map && b instanceof Map)
    return a.size === b.size && [...a].every(([key, item]) => b.has(key) && deepEqual(item, b.get(key), budget));
  return a === b;
}
