import {
  type FieldError,
  type StructuralSchema,
  canonicalJson,
  duplicateValue,
  fieldSchema,
  isObject,
} from '@slipway/apimachinery';
import { type PathStack, renderPath } from './path.ts';

const relevant = new WeakMap<StructuralSchema, boolean>();

/** True when the schema has a `set` or `map` list anywhere below; computed once per schema node. */
function hasListTypes(schema: StructuralSchema): boolean {
  const known = relevant.get(schema);
  if (known !== undefined) return known;
  relevant.set(schema, false); // ends recursion should a schema refer to itself
  const type = schema['x-kubernetes-list-type'];
  const children = [...Object.values(schema.properties ?? {}), schema.items, schema.additionalProperties];
  const found = type === 'set' || type === 'map' || children.some((child) => typeof child === 'object' && hasListTypes(child));
  relevant.set(schema, found);
  return found;
}

/** Duplicates in lists of type `set` and `map`. */
export function validateListTypes(
  value: unknown,
  schema: StructuralSchema,
  path: readonly (string | number)[] = [],
): FieldError[] {
  const errors: FieldError[] = [];
  visit(value, schema, [...path], errors);
  return errors;
}

function visit(value: unknown, schema: StructuralSchema, stack: PathStack, errors: FieldError[]): void {
  if (typeof value !== 'object' || value === null || !hasListTypes(schema)) return;
  if (Array.isArray(value)) {
    checkList(value, schema, stack, errors);
    for (let i = 0; i < value.length && schema.items !== undefined; i++) descend(value[i], i, schema.items, stack, errors);
    return;
  }
  for (const [key, child] of Object.entries(value)) {
    const childSchema = fieldSchema(schema, key);
    if (childSchema !== undefined) descend(child, key, childSchema, stack, errors);
  }
}

function descend(value: unknown, key: string | number, schema: StructuralSchema, stack: PathStack, errors: FieldError[]): void {
  stack.push(key);
  visit(value, schema, stack, errors);
  stack.pop();
}

function checkList(items: readonly unknown[], schema: StructuralSchema, stack: PathStack, errors: FieldError[]): void {
  const type = schema['x-kubernetes-list-type'];
  if (type !== 'set' && type !== 'map') return;
  const seen = new Set<string>();
  const reported = new Set<string>();
  items.forEach((item, index) => {
    const identity = type === 'set' ? item : keysOf(item, schema['x-kubernetes-list-map-keys'] ?? []);
    const text = canonicalJson(identity);
    if (seen.has(text) && !reported.has(text)) {
      errors.push(duplicateValue(renderPath([...stack, index]), identity));
      reported.add(text);
    }
    seen.add(text);
  });
}

function keysOf(item: unknown, keys: readonly string[]): Record<string, unknown> {
  return isObject(item) ? Object.fromEntries(keys.map((key) => [key, item[key]])) : {};
}
