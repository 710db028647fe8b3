import { type JsonObject, type StructuralSchema, cloneJson, isObject, setOwn } from '@slipway/apimachinery';

interface Traits {
  readonly hasDefaults: boolean;
  /** Names of the properties that have a default of their own. */
  readonly defaulted: readonly string[];
}

const NONE: Traits = { hasDefaults: false, defaulted: [] };
const traits = new WeakMap<StructuralSchema, Traits>();

function traitsOf(schema: StructuralSchema): Traits {
  const known = traits.get(schema);
  if (known !== undefined) return known;
  traits.set(schema, NONE); // ends recursion should a schema refer to itself
  const properties = Object.entries(schema.properties ?? {});
  const defaulted = properties.filter(([, field]) => field.default !== undefined).map(([name]) => name);
  const children = [...properties.map(([, field]) => field), schema.items, schema.additionalProperties];
  const hasDefaults =
    defaulted.length > 0 ||
    children.some((child) => typeof child === 'object' && (child.default !== undefined || traitsOf(child).hasDefaults));
  const result = { hasDefaults, defaulted };
  traits.set(schema, result);
  return result;
}

const isWrongNull = (value: unknown, schema: StructuralSchema | undefined): boolean =>
  value === null && schema !== undefined && schema.nullable !== true;

/** Fills in defaults below objects and lists that are there. Returns the same value when nothing was missing. */
export function applyDefaults<T>(value: T, schema: StructuralSchema): T {
  return fill(value, schema) as T; // adding optional fields keeps the type
}

function fill(value: unknown, schema: StructuralSchema): unknown {
  if (typeof value !== 'object' || value === null || !traitsOf(schema).hasDefaults) return value;
  if (Array.isArray(value)) return schema.items === undefined ? value : fillArray(value, schema.items);
  return fillObject(value as JsonObject, schema); // neither null nor an array
}

function fillArray(items: readonly unknown[], schema: StructuralSchema): unknown {
  let copy: unknown[] | undefined;
  items.forEach((item, index) => {
    const start = isWrongNull(item, schema) && schema.default !== undefined ? cloneJson(schema.default) : item;
    const filled = fill(start, schema);
    if (filled !== item) (copy ??= [...items])[index] = filled;
  });
  return copy ?? items;
}

function fillObject(value: JsonObject, schema: StructuralSchema): JsonObject {
  let copy: JsonObject | undefined;
  for (const name of traitsOf(schema).defaulted) {
    const field = schema.properties?.[name];
    if (Object.hasOwn(value, name) && !isWrongNull(value[name], field)) continue;
    setOwn((copy ??= { ...value }), name, cloneJson(field?.default));
  }
  for (const key in copy ?? value) {
    const current = (copy ?? value)[key];
    const filled = fillField(current, key, schema);
    if (filled !== current) setOwn((copy ??= { ...value }), key, filled);
  }
  return copy ?? value;
}

function fillField(value: unknown, key: string, { properties, additionalProperties }: StructuralSchema): unknown {
  if (properties !== undefined && Object.hasOwn(properties, key)) return fill(value, properties[key] ?? {});
  return typeof additionalProperties === 'object' ? fillMapValue(value, additionalProperties) : value;
}

function fillMapValue(value: unknown, schema: StructuralSchema): unknown {
  const start = isWrongNull(value, schema) && schema.default !== undefined ? cloneJson(schema.default) : value;
  return fill(start, schema);
}

/** Drops nulls of declared fields that may not be null: they mean "not set". */
export function dropNulls<T>(value: T, schema: StructuralSchema): T {
  return drop(value, schema) as T; // dropping nulls keeps the type
}

function drop(value: unknown, schema: StructuralSchema): unknown {
  if (Array.isArray(value)) return schema.items === undefined ? value : dropInArray(value, schema.items);
  if (!isObject(value)) return value;
  let copy: JsonObject | undefined;
  for (const key in value) {
    const field = declared(schema, key);
    if (field === undefined) continue;
    if (isWrongNull(value[key], field)) {
      delete (copy ??= { ...value })[key];
      continue;
    }
    const child = drop(value[key], field);
    if (child !== value[key]) setOwn((copy ??= { ...value }), key, child);
  }
  return copy ?? value;
}

function dropInArray(items: readonly unknown[], schema: StructuralSchema): unknown {
  let copy: unknown[] | undefined;
  items.forEach((item, index) => {
    const child = drop(item, schema);
    if (child !== item) (copy ??= [...items])[index] = child;
  });
  return copy ?? items;
}

function declared({ properties, additionalProperties }: StructuralSchema, key: string): StructuralSchema | undefined {
  if (properties !== undefined && Object.hasOwn(properties, key)) return properties[key];
  return typeof additionalProperties === 'object' ? additionalProperties : undefined;
}
