import { Optional } from '@marcbachmann/cel-js';
import { Duration, UnsignedInt } from '@marcbachmann/cel-js/evaluator';

/** A value that knows when it equals another of its kind. */
export interface Comparable {
  equals(other: unknown): boolean;
}

const isComparable = (value: object): value is Comparable => 'equals' in value && typeof value.equals === 'function';
const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;

/** Equality as `==` has it: numbers by value whatever their type, lists and maps by contents. */
export function celEquals(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  const [left, right] = [numberOf(a), numberOf(b)];
  // eslint-disable-next-line eqeqeq -- whole numbers and fractions compare by value
  if (left !== undefined && right !== undefined) return left == right;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((item, index) => celEquals(item, b[index]));
  }
  if (isPlain(a)) return isPlain(b) && equalMaps(a, b);
  return equalObjects(a, b);
}

function equalObjects(a: object, b: object): boolean {
  if (a instanceof Date) return b instanceof Date && a.getTime() === b.getTime();
  if (a instanceof Duration) return b instanceof Duration && a.seconds === b.seconds && a.nanos === b.nanos;
  if (a instanceof Uint8Array) return b instanceof Uint8Array && Buffer.compare(a, b) === 0;
  if (a instanceof Optional) return b instanceof Optional && celEquals(contents(a), contents(b));
  return isComparable(a) && a.constructor === b.constructor && a.equals(b);
}

const contents = (optional: Optional): unknown => (optional.hasValue() ? [optional.value()] : []);

function equalMaps(a: Record<string, unknown>, b: Record<string, unknown>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && celEquals(a[key], b[key]));
}

function numberOf(value: unknown): bigint | number | undefined {
  if (typeof value === 'bigint' || typeof value === 'number') return value;
  return value instanceof UnsignedInt ? value.valueOf() : undefined;
}
