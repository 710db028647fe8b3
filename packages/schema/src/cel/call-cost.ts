import { PER_CHARACTER, PER_PATTERN_CHARACTER } from './cost-units.ts';

/** Asking the authorizer. */
const CHECK_COST = 350_000;

const sizes = new WeakMap<object, number>();

/** Everything in a value, counted once: leaves, and texts by their length. */
export function deepSize(value: unknown): number {
  if (typeof value === 'string') return 1 + value.length * PER_CHARACTER;
  if (typeof value !== 'object' || value === null) return 1;
  const known = sizes.get(value);
  if (known !== undefined) return known;
  let size = 1;
  if (Array.isArray(value)) for (const item of value) size += deepSize(item);
  else if (value instanceof Uint8Array) size += value.length * PER_CHARACTER;
  else if (value instanceof Map) for (const item of value.values()) size += deepSize(item);
  else if (Object.getPrototypeOf(value) === Object.prototype) {
    for (const key of Object.keys(value)) size += deepSize(ownValue(value, key));
  }
  sizes.set(value, size);
  return size;
}

/** Values that are worked out on access are not worked out for this. */
function ownValue(object: object, key: string): unknown {
  const descriptor = Object.getOwnPropertyDescriptor(object, key);
  return descriptor?.get === undefined ? descriptor?.value : undefined;
}

const lengthOf = (value: unknown): number => {
  if (typeof value === 'string' || Array.isArray(value) || value instanceof Uint8Array) return value.length;
  return 1;
};
const reading = (value: unknown): number => Math.ceil(lengthOf(value) * PER_CHARACTER);

type Cost = (values: readonly unknown[]) => number;

const byPattern: Cost = ([text, pattern]) =>
  Math.ceil((lengthOf(text) + 1) * PER_CHARACTER) * Math.ceil(lengthOf(pattern) * PER_PATTERN_CHARACTER);
/** Each item of one list is compared with each of another. */
const byProduct: Cost = (values) => values.filter(Array.isArray).reduce((product, list) => product * deepSize(list), 1);
const bySorting: Cost = ([list]) => deepSize(list) * Math.ceil(Math.log2(lengthOf(list) + 2));
const byContents: Cost = (values) =>
  values.reduce<number>((sum, value) => sum + (Array.isArray(value) ? deepSize(value) : reading(value)), 0);

const COSTS: Readonly<Record<string, Cost>> = {
  matches: byPattern,
  find: byPattern,
  findAll: byPattern,
  check: () => CHECK_COST,
  contains: (values) => (values.some(Array.isArray) ? byProduct(values) : reading(values[0]) * Math.max(1, reading(values[1]))),
  intersects: byProduct,
  equivalent: byProduct,
  containsAll: byProduct,
  distinct: bySorting,
  sort: bySorting,
  startsWith: ([, part]) => reading(part),
  endsWith: ([, part]) => reading(part),
  replace: ([text, , next]) => reading(text) * Math.max(1, reading(next)),
  size: () => 0,
};

/** Cost of a call beyond its base, from the values it is called with. */
export function callCost(name: string, values: readonly unknown[]): number {
  return (COSTS[name.replace(/__$/, '')] ?? byContents)(values);
}

/** Cost of an operator beyond its base. */
export function comparisonCost(operator: string, left: unknown, right: unknown): number {
  switch (operator) {
    case '==':
    case '!=':
      return left === right ? 0 : Math.min(deepSize(left), deepSize(right)) - 1;
    case 'in':
      return Array.isArray(right) ? deepSize(right) : 0;
    case '+':
      return Array.isArray(left) ? lengthOf(left) + lengthOf(right) : reading(left) + reading(right);
    default:
      return typeof left === 'string' ? Math.min(reading(left), reading(right)) : 0;
  }
}
