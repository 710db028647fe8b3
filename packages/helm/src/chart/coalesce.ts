import { type GoMap, isList, isMap, isNil, type Value } from '../template/values.ts';
import { type Chart, ChartError } from './chart.ts';

/** Says what was ignored because its type does not fit. */
export type Warn = (message: string) => void;

/** A copy that shares no map or list. */
export function copyValue(value: Value): Value {
  if (isMap(value)) return copyMap(value);
  return isList(value) ? value.map(copyValue) : value;
}

export const copyMap = (map: GoMap): GoMap => new Map([...map].map(([key, value]) => [key, copyValue(value)]));

/** Lays the second map over the first: maps are merged, everything else is replaced. Changes the first. */
export function mergeTables(target: GoMap, over: GoMap): GoMap {
  for (const [key, value] of over) {
    const old = target.get(key);
    if (isMap(old) && isMap(value)) mergeTables(old, value);
    else target.set(key, copyValue(value));
  }
  return target;
}

/** The values a chart and its subcharts are rendered with: those of the user above those of the charts. */
export function coalesceValues(chart: Chart, values: GoMap, warn: Warn): GoMap {
  return coalesce(chart, copyMap(values), '', false, warn);
}

/** The same without dropping nulls: for conditions and imported values. */
export function mergeValues(chart: Chart, values: GoMap, warn: Warn): GoMap {
  return coalesce(chart, copyMap(values), '', true, warn);
}

function coalesce(chart: Chart, target: GoMap, prefix: string, keepsNull: boolean, warn: Warn): GoMap {
  underlay(chart, target, prefix, keepsNull, warn);
  for (const child of chart.dependencies) {
    const own = target.get(child.name) ?? new Map<string, Value>();
    if (!isMap(own)) throw new ChartError(`type mismatch on ${child.name}: ${String(own as string)}`);
    spreadGlobals(own, target, warn);
    target.set(child.name, coalesce(child, own, `${prefix}${chart.name}.`, keepsNull, warn));
  }
  return target;
}

function underlay(chart: Chart, target: GoMap, prefix: string, keepsNull: boolean, warn: Warn): void {
  for (const [key, fallback] of chart.values) {
    const value = target.get(key);
    if (!target.has(key)) target.set(key, copyValue(fallback));
    else if (isNil(value)) {
      if (!keepsNull) target.delete(key);
    } else if (isMap(value)) {
      if (isMap(fallback)) {
        const isChild = chart.dependencies.some(({ name }) => name === key);
        // the subchart's own pass decides what a null means there
        underlayTable(value, copyMap(fallback), `${prefix}${chart.name}.${key}`, keepsNull || isChild, warn);
      } else if (!isNil(fallback)) warn(`skipped value for ${prefix}${chart.name}.${key}: Not a table.`);
    }
  }
}

/** Puts what the target lacks under it. */
export function underlayTable(target: GoMap, source: GoMap, path: string, keepsNull: boolean, warn: Warn): GoMap {
  for (const [key, fallback] of source) {
    const value = target.get(key);
    if (!target.has(key)) target.set(key, fallback);
    else if (isNil(value)) {
      if (!keepsNull) target.delete(key);
    } else if (isMap(fallback)) {
      if (isMap(value)) underlayTable(value, fallback, `${path}.${key}`, keepsNull, warn);
      else warn(`cannot overwrite table with non table for ${path}.${key}`);
    } else if (isMap(value) && !isNil(fallback)) warn(`destination for ${path}.${key} is a table. Ignoring non-table value`);
  }
  return target;
}

/** Globals of the parent go into the child; the parent's win. */
function spreadGlobals(child: GoMap, parent: GoMap, warn: Warn): void {
  const own = child.get('global') ?? new Map<string, Value>();
  const above = parent.get('global') ?? new Map<string, Value>();
  if (!isMap(own) || !isMap(above)) {
    warn('skipping globals because destination or source is not a table.');
    return;
  }
  for (const [key, value] of above) {
    const old = own.get(key);
    if (isMap(value)) {
      if (old !== undefined && !isMap(old)) warn(`Conflict: cannot merge map onto non-map for "${key}". Skipping.`);
      else own.set(key, isMap(old) ? underlayTable(copyMap(value), old, key, true, warn) : copyMap(value));
    } else if (isMap(old)) warn(`key is table. Skipping global "${key}"`);
    else own.set(key, copyValue(value));
  }
  child.set('global', own);
}

/** The table at a dotted path, if there is one. */
export function tableAt(values: GoMap, path: string): GoMap | undefined {
  let table: Value = values;
  for (const part of path.split('.')) {
    table = isMap(table) ? table.get(part) : undefined;
    if (!isMap(table)) return undefined;
  }
  return table;
}
