import {
  type FieldError,
  type StructuralSchema,
  invalidType,
  invalidValue,
  isObject,
  requiredValue,
  tooMany,
  unsupportedValue,
  deepEqual,
} from '@slipway/apimachinery';
import { type PathStack, renderPath } from './path.ts';
import { checkComposites } from './validate-composites.ts';
import { checkNumber, checkString } from './validate-scalars.ts';

/** Where a walk is and what it found. */
export interface Walk {
  readonly errors: FieldError[];
  readonly stack: PathStack;
}

/** Findings of a value, worded as the API server does. `path` is the value's own path (empty for a whole object). */
export function validateValue(value: unknown, schema: StructuralSchema, path: readonly (string | number)[] = []): FieldError[] {
  const walk: Walk = { errors: [], stack: [...path] };
  visit(value, schema, walk);
  return walk.errors;
}

/** JSON Schema's name of a value's type. */
export function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

/** One value and everything below it. */
export function visit(value: unknown, schema: StructuralSchema, walk: Walk): void {
  if (value === null && schema.nullable === true) return;
  checkType(value, schema, walk);
  if (schema.enum !== undefined) checkEnum(value, schema.enum, walk);
  if (typeof value === 'string') checkString(value, schema, walk);
  else if (typeof value === 'number') checkNumber(value, schema, walk);
  else if (Array.isArray(value)) visitArray(value, schema, walk);
  else if (isObject(value)) visitObject(value, schema, walk);
  if (hasComposites(schema)) checkComposites(value, schema, walk);
}

function hasComposites(schema: StructuralSchema): boolean {
  return schema.allOf !== undefined || schema.anyOf !== undefined || schema.oneOf !== undefined || schema.not !== undefined;
}

function checkType(value: unknown, schema: StructuralSchema, walk: Walk): void {
  const actual = typeName(value);
  const intOrString = schema['x-kubernetes-int-or-string'] === true;
  if (intOrString ? actual === 'integer' || actual === 'string' : fits(actual, schema.type)) return;
  const path = renderPath(walk.stack);
  const expected = intOrString ? 'integer,string' : schema.type;
  walk.errors.push(invalidType(path, `"${actual}"`, `${path} in body must be of type ${expected}: "${actual}"`));
}

function fits(actual: string, type: StructuralSchema['type']): boolean {
  return type === undefined || actual === type || (type === 'number' && actual === 'integer');
}

function checkEnum(value: unknown, allowed: readonly unknown[], walk: Walk): void {
  for (const candidate of allowed) if (deepEqual(candidate, value)) return;
  const supported = allowed.map((item) => (typeof item === 'string' ? item : JSON.stringify(item)));
  walk.errors.push(unsupportedValue(renderPath(walk.stack), value, supported));
}

function visitArray(items: readonly unknown[], schema: StructuralSchema, walk: Walk): void {
  const { minItems, maxItems } = schema;
  if (maxItems !== undefined && items.length > maxItems) {
    walk.errors.push(tooMany(renderPath(walk.stack), items.length, maxItems));
  }
  if (minItems !== undefined && items.length < minItems) {
    const path = renderPath(walk.stack);
    walk.errors.push(invalidValue(path, items.length, `${path} in body should have at least ${minItems} items`));
  }
  const itemSchema = schema.items;
  if (itemSchema === undefined) return;
  for (let i = 0; i < items.length; i++) {
    walk.stack.push(i);
    visit(items[i], itemSchema, walk);
    walk.stack.pop();
  }
}

function visitObject(value: Record<string, unknown>, schema: StructuralSchema, walk: Walk): void {
  if (schema.required !== undefined) checkRequired(value, schema.required, walk);
  if (schema.minProperties !== undefined || schema.maxProperties !== undefined) checkSize(value, schema, walk);
  if (schema['x-kubernetes-embedded-resource'] === true) checkEmbedded(value, walk);
  const { properties, additionalProperties } = schema;
  if (properties === undefined && typeof additionalProperties !== 'object') return;
  for (const key in value) {
    const field =
      properties !== undefined && Object.hasOwn(properties, key)
        ? properties[key]
        : typeof additionalProperties === 'object'
          ? additionalProperties
          : undefined;
    if (field === undefined) continue;
    walk.stack.push(key);
    visit(value[key], field, walk);
    walk.stack.pop();
  }
}

function checkRequired(value: Record<string, unknown>, required: readonly string[], walk: Walk): void {
  for (const field of required) {
    if (!Object.hasOwn(value, field)) walk.errors.push(requiredValue(renderPath([...walk.stack, field])));
  }
}

function checkSize(value: Record<string, unknown>, { minProperties, maxProperties }: StructuralSchema, walk: Walk): void {
  const size = Object.keys(value).length;
  const path = renderPath(walk.stack);
  if (maxProperties !== undefined && size > maxProperties) walk.errors.push(tooMany(path, size, maxProperties));
  if (minProperties !== undefined && size < minProperties) {
    walk.errors.push(invalidValue(path, size, `${path} in body should have at least ${minProperties} properties`));
  }
}

function checkEmbedded(value: Record<string, unknown>, walk: Walk): void {
  for (const field of ['apiVersion', 'kind']) {
    if (!value[field]) walk.errors.push(requiredValue(renderPath([...walk.stack, field]), 'must not be empty'));
  }
}
