/** Reading a text costs a tenth of a unit per character. */
const PER_CHARACTER = 0.1;
const PER_PATTERN_CHARACTER = 0.25;
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

/** Functions that go over a list once. */
const OVER_LIST = new Set(['isSorted', 'sum', 'min', 'max', 'indexOf', 'lastIndexOf', 'join', 'flatten', 'reverse', 'slice']);
/** Functions that compare each item of one list with each of another. */
const LIST_WITH_LIST = new Set(['sets.contains', 'sets.intersects', 'sets.equivalent', 'contains', 'intersects', 'equivalent']);
const PATTERNS = new Set(['matches', 'find', 'findAll']);
const CHECKS = new Set(['check', 'allowed']);

/** Cost of a call beyond its base, from the values it is called with. */
export function callCost(name: string, values: readonly unknown[]): number {
  const plain = name.replace(/__$/, '');
  const [first, second, third] = values;
  if (PATTERNS.has(plain)) {
    return Math.ceil((lengthOf(first) + 1) * PER_CHARACTER) * Math.ceil(lengthOf(second) * PER_PATTERN_CHARACTER);
  }
  if (plain === 'check') return CHECK_COST;
  if (CHECKS.has(plain)) return 1;
  if (LIST_WITH_LIST.has(plain) && values.some(Array.isArray)) {
    const lists = values.filter(Array.isArray);
    return lists.reduce((product, list) => product * Math.max(1, deepSize(list)), 1);
  }
  if (plain === 'distinct' || plain === 'sort')
    return Array.isArray(first) ? deepSize(first) * Math.ceil(Math.log2(first.length + 2)) : 0;
  if (Array.isArray(first) && OVER_LIST.has(plain)) return deepSize(first);
  if (plain === 'contains') return reading(first) * Math.max(1, reading(second));
  if (plain === 'startsWith' || plain === 'endsWith') return reading(second);
  if (plain === 'replace') return reading(first) * Math.max(1, reading(third));
  if (plain === 'size') return 0;
  return values.reduce<number>((sum, value) => sum + (Array.isArray(value) ? deepSize(value) : reading(value)), 0);
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
