import { Int, isList, isMap, isNil, sortedKeys, typeName, type GoMap, type Value } from '../template/values.ts';
import { formatF } from '../template/numbers.ts';
import { FunctionError } from '../template/functions.ts';
import type { Budget } from '../template/budget.ts';

const BARE = /^[A-Za-z0-9_-]+$/;
const keyOf = (key: string): string => (BARE.test(key) ? key : JSON.stringify(key));

/** The dict as TOML, scalars before tables. */
export function toToml(value: Value, budget: Budget): string {
  if (!isMap(value)) throw new FunctionError(`toml: top-level values must be Go maps or structs, not ${typeName(value)}`);
  const lines: string[] = [];
  table(lines, value, [], budget);
  return `${lines.join('\n')}\n`.replace(/^\n/, '');
}

const isTable = (value: Value): boolean => isMap(value) || (isList(value) && value.length > 0 && value.every(isMap));

function table(lines: string[], map: GoMap, path: readonly string[], budget: Budget): void {
  if (path.length > 100) throw new FunctionError('toml: nested too deeply');
  const pad = '  '.repeat(Math.max(path.length, 0));
  const keys = sortedKeys(map).filter((key) => !isNil(map.get(key)));
  for (const key of keys) {
    budget.step();
    const value = map.get(key);
    if (!isTable(value)) lines.push(`${pad}${keyOf(key)} = ${inline(value, budget)}`);
  }
  for (const key of keys) {
    const value = map.get(key);
    const name = [...path, key].map(keyOf).join('.');
    if (isMap(value)) {
      if (path.length === 0) lines.push('');
      lines.push(`${pad}[${name}]`);
      table(lines, value, [...path, key], budget);
    } else if (isList(value) && isTable(value)) {
      for (const item of value) {
        lines.push('', `${pad}[[${name}]]`);
        if (isMap(item)) table(lines, item, [...path, key], budget);
      }
    }
  }
}

function inline(value: Value, budget: Budget): string {
  budget.step();
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'boolean') return String(value);
  if (value instanceof Int) return String(value.value);
  if (typeof value === 'number') return Number.isInteger(value) ? `${formatF(value, undefined)}.0` : formatF(value, undefined);
  if (isList(value)) return `[${value.map((item) => inline(item, budget)).join(', ')}]`;
  if (isMap(value))
    return `{${sortedKeys(value)
      .map((key) => `${keyOf(key)} = ${inline(value.get(key), budget)}`)
      .join(', ')}}`;
  throw new FunctionError(`toml: cannot encode a ${typeName(value)}`);
}
