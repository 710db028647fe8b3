import { isObject } from '@slipway/apimachinery';
import type { Fields } from '../kinds.ts';

/** Value at a dotted path of a grouped (`v1`) spec, or undefined. */
export function valueAt(spec: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => (isObject(value) ? value[name] : undefined), spec);
}

/** The same, when it is text; else the fallback. */
export function textAt(spec: unknown, path: string, fallback = ''): string {
  const value = valueAt(spec, path);
  return typeof value === 'string' ? value : fallback;
}

/** The same, when it is a map. */
export function fieldsAt(spec: unknown, path: string): Fields | undefined {
  const value = valueAt(spec, path);
  return isObject(value) ? value : undefined;
}

/** The same, when it is a list; its items that are maps. */
export function mapsAt(spec: unknown, path: string): readonly Fields[] | undefined {
  const value = valueAt(spec, path);
  return Array.isArray(value) ? (value as readonly unknown[]).filter(isObject) : undefined;
}

/** Leaves out fields that are undefined, so that operands keep their own defaults. */
export function compact(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
