import { FunctionError } from './functions.ts';
import { formatValue } from './format.ts';
import { Budget } from './budget.ts';
import { compareText, Int, isNil, isObject, typeName, type Value } from './values.ts';

type BasicKind = 'bool' | 'complex' | 'int' | 'float' | 'string' | 'uint';

const BAD_COMPARISON = 'incompatible types for comparison';
const BAD_TYPE = 'invalid type for comparison';

function basicKind(value: Value): BasicKind | undefined {
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number') return 'float';
  if (typeof value === 'string') return 'string';
  if (value instanceof Int) return value.kind.startsWith('uint') ? 'uint' : 'int';
  return undefined;
}

/** `eq`: the first operand equals one of the others. */
export function isEqual(first: Value, others: readonly Value[]): boolean {
  if (others.length === 0) throw new FunctionError('missing argument for comparison');
  return others.some((other) => equalsOne(first, other));
}

function equalsOne(a: Value, b: Value): boolean {
  const [kindA, kindB] = [basicKind(a), basicKind(b)];
  if (kindA !== kindB) {
    if (a instanceof Int && b instanceof Int) return a.value === b.value;
    if (!isNil(a) && !isNil(b)) throw new FunctionError(BAD_COMPARISON);
    return false;
  }
  if (a instanceof Int && b instanceof Int) return a.value === b.value;
  return kindA === undefined ? equalsComposite(a, b) : a === b;
}

/** Neither has a basic kind. */
function equalsComposite(a: Value, b: Value): boolean {
  if (isNil(a) || isNil(b)) return isNil(a) === isNil(b);
  if (!isComparable(a) || !isComparable(b)) {
    if (typeName(a) !== typeName(b)) throw new FunctionError(`non-comparable types ${shown(a)}, ${shown(b)}`);
    throw new FunctionError(`non-comparable type ${shown(b)}`);
  }
  return a === b || (isObject(a) && isObject(b) && a.goType === b.goType && a.toText() === b.toText());
}

const isComparable = (value: Value): boolean => isObject(value) && value.entries === undefined;

const shown = (value: Value): string => `${formatValue(value, new Budget())}: ${typeName(value)}`;

/** Negative, zero or positive, as `lt` and its like need it. */
export function order(a: Value, b: Value): number {
  const kind = basicKind(a);
  const other = basicKind(b);
  if (kind === undefined || other === undefined) throw new FunctionError(BAD_TYPE);
  if (a instanceof Int && b instanceof Int) return a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
  if (kind !== other) throw new FunctionError(BAD_COMPARISON);
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b);
  if (typeof a === 'number' && typeof b === 'number') return a < b ? -1 : a === b ? 0 : a > b ? 1 : Number.NaN;
  throw new FunctionError(BAD_TYPE);
}
