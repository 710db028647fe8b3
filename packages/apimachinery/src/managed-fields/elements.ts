import { canonicalJson, isObject } from '../json.ts';
import type { StructuralSchema } from '../structural-schema.ts';

/** How a value takes part in ownership: field by field, item by item, or as one. */
export type Granularity = 'map' | 'list' | 'leaf';

/** Without a schema, maps are merged and lists are atomic. */
export function granularityOf(value: unknown, schema: StructuralSchema | undefined): Granularity {
  if (Array.isArray(value)) {
    const type = schema?.['x-kubernetes-list-type'];
    return type === 'map' || type === 'set' ? 'list' : 'leaf';
  }
  return isObject(value) && schema?.['x-kubernetes-map-type'] !== 'atomic' ? 'map' : 'leaf';
}

export const fieldElement = (name: string): string => `f:${name}`;

/** Thrown when a list has no proper keys; such a list can only be handled as one. */
export class ListKeyError extends Error {}

/** Items of a list of type `map` or `set` by path element, in order. Throws ListKeyError for duplicates and missing keys. */
export function keyedItems(items: readonly unknown[], schema: StructuralSchema): Map<string, unknown> {
  const keyed = new Map<string, unknown>();
  for (const item of items) {
    const element = itemElement(item, schema);
    if (keyed.has(element)) throw new ListKeyError(`duplicate entries for key ${element.slice(2)}`);
    keyed.set(element, item);
  }
  return keyed;
}

function itemElement(item: unknown, schema: StructuralSchema): string {
  if (schema['x-kubernetes-list-type'] === 'set') return `v:${canonicalJson(item)}`;
  if (!isObject(item)) throw new ListKeyError('associative list with keys may not have non-map elements');
  const key: Record<string, unknown> = {};
  for (const name of schema['x-kubernetes-list-map-keys'] ?? []) {
    const value = item[name] ?? schema.items?.properties?.[name]?.default;
    if (value !== undefined) key[name] = value;
  }
  if (Object.keys(key).length === 0) {
    const names = schema['x-kubernetes-list-map-keys']?.join(', ');
    throw new ListKeyError(`associative list with keys has an element that omits key field "${names}"`);
  }
  return `k:${canonicalJson(key)}`;
}

/** Undefined instead of ListKeyError. */
export function tryKeyedItems(items: readonly unknown[] | undefined, schema: StructuralSchema): Map<string, unknown> | undefined {
  try {
    return keyedItems(items ?? [], schema);
  } catch (error) {
    if (error instanceof ListKeyError) return undefined;
    throw error;
  }
}
