import type { Budget } from '../template/budget.ts';
import { define, FunctionError, type FunctionTable } from '../template/functions.ts';
import { type GoMap, isList, isMap, isNil, strings, typed, typeName, type Value } from '../template/values.ts';
import { type FunctionSources, isEmpty, textOf } from './context.ts';

/** Sprig's functions on dicts and on absent values. */
export function dictFunctions({ budget }: FunctionSources): FunctionTable {
  const merge = define('map ...map', (target: GoMap, ...sources: GoMap[]) => mergeAll(budget, target, sources, false));
  const mergeOverwrite = define('map ...map', (target: GoMap, ...sources: GoMap[]) => mergeAll(budget, target, sources, true));
  const copy = define('any', (value: Value) => {
    if (isNil(value)) throw new FunctionError('deep copy of nil');
    return deepCopy(value, budget);
  });
  return {
    ...access(budget),
    ...selection(),
    ...defaults(),
    merge,
    mustMerge: merge,
    mergeOverwrite,
    mustMergeOverwrite: mergeOverwrite,
    deepCopy: copy,
    mustDeepCopy: copy,
  };
}

function access(budget: Budget): FunctionTable {
  return {
    dict: define('...any', (...pairs: Value[]) => {
      const map: GoMap = new Map();
      for (let at = 0; at < pairs.length; at += 2)
        map.set(textOf(pairs[at], budget), at + 1 < pairs.length ? (pairs[at + 1] ?? null) : '');
      return map;
    }),
    get: define('map string', (map: GoMap, key: string) => (map.has(key) ? (map.get(key) ?? null) : '')),
    set: define('map string any', (map: GoMap, key: string, value: Value) => map.set(key, value ?? null)),
    unset: define('map string', (map: GoMap, key: string) => {
      map.delete(key);
      return map;
    }),
    hasKey: define('map string', (map: GoMap, key: string) => map.has(key)),
    keys: define('...map', (...maps: GoMap[]) => strings(maps.flatMap((map) => [...map.keys()]))),
    values: define('map', (map: GoMap) => [...map.values()]),
    dig: define('...any', (...args: Value[]) => dig(args)),
  };
}

function dig(args: readonly Value[]): Value {
  if (args.length < 3) throw new FunctionError('dig needs at least three arguments');
  let map = args.at(-1);
  const fallback = args.at(-2);
  const keys = args.slice(0, -2);
  for (const [index, key] of keys.entries()) {
    if (typeof key !== 'string') throw new FunctionError(`interface conversion: interface {} is ${typeName(key)}, not string`);
    if (!isMap(map))
      throw new FunctionError(`interface conversion: interface {} is ${typeName(map)}, not map[string]interface {}`);
    if (!map.has(key)) return fallback;
    map = map.get(key);
    if (index === keys.length - 1) return map;
  }
  return fallback;
}

function selection(): FunctionTable {
  return {
    pick: define(
      'map ...string',
      (map: GoMap, ...keys: string[]) => new Map(keys.filter((key) => map.has(key)).map((key) => [key, map.get(key)])),
    ),
    omit: define('map ...string', (map: GoMap, ...keys: string[]) => new Map([...map].filter(([key]) => !keys.includes(key)))),
    pluck: define('string ...map', (key: string, ...maps: GoMap[]) =>
      maps.filter((map) => map.has(key)).map((map) => map.get(key)),
    ),
  };
}

function defaults(): FunctionTable {
  return {
    default: define('any ...any', (fallback: Value, ...given: Value[]) =>
      given.length === 0 || isEmpty(given[0]) ? fallback : given[0],
    ),
    empty: define('any', isEmpty),
    coalesce: define('...any', (...values: Value[]) => values.find((value) => !isEmpty(value)) ?? null),
    all: define('...any', (...values: Value[]) => values.every((value) => !isEmpty(value))),
    any: define('...any', (...values: Value[]) => values.some((value) => !isEmpty(value))),
    ternary: define('any any bool', (yes: Value, no: Value, condition: boolean) => (condition ? yes : no)),
    fail: define('string', (message: string) => {
      throw new FunctionError(message);
    }),
  };
}

/** Into the first map, which changes: with `overwrite` the later wins, else the first that is not empty. */
function mergeAll(budget: Budget, target: GoMap, sources: readonly GoMap[], overwrite: boolean): GoMap {
  for (const source of sources) mergeInto(budget, target, source, overwrite);
  return target;
}

function mergeInto(budget: Budget, target: GoMap, source: GoMap, overwrite: boolean): void {
  if (target === source) return;
  for (const [key, value] of source) {
    budget.step();
    const old = target.get(key);
    if (isMap(old) && isMap(value) && old.size > 0) mergeInto(budget, old, value, overwrite);
    else if ((overwrite && !isNil(value)) || !target.has(key) || isEmpty(old))
      target.set(key, isMap(value) ? deepCopy(value, budget) : value);
  }
}

/** A copy that shares no map or list. */
export function deepCopy(value: Value, budget: Budget): Value {
  budget.step();
  if (isMap(value)) return typed(new Map(Array.from(value).map(([key, item]) => [key, deepCopy(item, budget)])), typeName(value));
  if (isList(value))
    return typed(
      value.map((item) => deepCopy(item, budget)),
      typeName(value),
    );
  return value;
}
