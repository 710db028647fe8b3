import type { Budget } from '../template/budget.ts';
import { define, FunctionError, type FunctionTable } from '../template/functions.ts';
import { type GoList, type Int, isBytes, isList, isNil, kindName, typed, typeName, type Value } from '../template/values.ts';
import { deepEqual, type FunctionSources, isEmpty, listArgument, toBigInt } from './context.ts';

/** Each function under its name and, where it can fail, under its `must` name. */
export function withMust(table: FunctionTable): FunctionTable {
  const must = Object.entries(table).map(([name, callee]) => [`must${name.charAt(0).toUpperCase()}${name.slice(1)}`, callee]);
  return { ...table, ...Object.fromEntries(must) };
}

/** Sprig's functions on lists. */
export function listFunctions({ budget }: FunctionSources): FunctionTable {
  const list = define('...any', (...items: Value[]) => items);
  const tables = withMust({ ...ends(), ...changing(), ...searching(budget), ...cutting(budget) });
  const concat = define('...any', (...lists: Value[]) => concatAll(budget, lists));
  return {
    ...tables,
    list,
    tuple: list,
    concat,
    mustConcat: concat,
    push: pick(tables, 'append'),
    mustPush: pick(tables, 'append'),
  };
}

function pick(table: FunctionTable, name: string): FunctionTable[string] {
  const found = table[name];
  if (found === undefined) throw new Error(`no function ${name}`); // all names stand in this file
  return found;
}

function ends(): FunctionTable {
  return {
    first: define('any', (value: Value) => listArgument(value, 'find first')[0] ?? null),
    last: define('any', (value: Value) => listArgument(value, 'find last').at(-1) ?? null),
    rest: define('any', (value: Value) => {
      const items = listArgument(value, 'find rest');
      return items.length === 0 ? null : items.slice(1);
    }),
    initial: define('any', (value: Value) => {
      const items = listArgument(value, 'find initial');
      return items.length === 0 ? null : items.slice(0, -1);
    }),
  };
}

function changing(): FunctionTable {
  return {
    append: define('any any', (value: Value, item: Value) => [...asList(value, 'push'), item]),
    prepend: define('any any', (value: Value, item: Value) => [item, ...asList(value, 'prepend')]),
    reverse: define('any', (value: Value) => asList(value, 'reverse').slice().reverse()),
    compact: define('any', (value: Value) => asList(value, 'compact').filter((item) => !isEmpty(item))),
  };
}

function asList(value: Value, action: string): GoList {
  if (isBytes(value)) return Array.from(value);
  return listArgument(value, action);
}

function searching(budget: Budget): FunctionTable {
  const holds = (items: readonly Value[], wanted: Value): boolean => items.some((item) => deepEqual(item, wanted, budget));
  return {
    uniq: define('any', (value: Value) => {
      const kept: GoList = [];
      for (const item of listArgument(value, 'find uniq')) if (!holds(kept, item)) kept.push(item);
      return kept;
    }),
    without: define('any ...any', (value: Value, ...unwanted: Value[]) =>
      listArgument(value, 'find without').filter((item) => !holds(unwanted, item)),
    ),
    has: define('any any', (wanted: Value, value: Value) => {
      if (isNil(value)) return false;
      return holds(listArgument(value, 'find has'), wanted);
    }),
  };
}

function cutting(budget: Budget): FunctionTable {
  return {
    slice: define('any ...any', (value: Value, ...bounds: Value[]) => {
      if (!isList(value)) throw new FunctionError(`list should be type of slice or array but ${kindName(value)}`);
      if (value.length === 0) return null;
      const [from = 0, to = value.length] = bounds.map((bound) => Number(toBigInt(bound)));
      if (from < 0 || from > to || to > value.length) throw new FunctionError('reflect.Value.Slice: slice index out of bounds');
      return typed(value.slice(from, to), typeName(value));
    }),
    chunk: define('int any', (size: Int, value: Value) => {
      const items = listArgument(value, 'chunk');
      if (size.value <= 0n) throw new FunctionError('runtime error: integer divide by zero');
      const chunks: GoList = [];
      for (let at = 0; at < items.length; at += Number(size.value)) chunks.push(items.slice(at, at + Number(size.value)));
      budget.step(items.length);
      return typed(chunks, '[][]interface {}');
    }),
  };
}

function concatAll(budget: Budget, lists: readonly Value[]): Value {
  const all: GoList = [];
  for (const value of lists) {
    if (!isList(value)) throw new FunctionError(`Cannot concat type ${kindName(value)} as list`);
    budget.step(value.length);
    for (const item of value) all.push(item);
  }
  return lists.length === 0 ? null : all;
}
