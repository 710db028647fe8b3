import {
  type JsonObject,
  type StructuralSchema,
  type UnstructuredObject,
  badRequest,
  canonicalQuantity,
  fieldSchema,
  isObject,
} from '@slipway/apimachinery';
import { isQuantitySchema } from '@slipway/api';
import { WrongType } from '../registry/resource-definition.ts';

/**
 * Brings an object to the form in which the API server itself would write it: wrong JSON types are refused (400),
 * quantities become canonical, nulls, empty lists and empty maps disappear.
 */
export function normalizeBuiltin(object: UnstructuredObject, schema: StructuralSchema): void {
  normalizeFields(object, schema, object.kind);
}

function refuse(path: string, found: string, wanted: string): never {
  throw new WrongType(`json: cannot unmarshal ${found} into Go struct field ${path} of type ${wanted}`);
}

function normalizeFields(object: JsonObject, schema: StructuralSchema, path: string): void {
  for (const key of Object.keys(object)) {
    const field = fieldSchema(schema, key);
    if (field === undefined) continue;
    const value = normalizeValue(object[key], field, `${path}.${key}`);
    if (value === undefined || value === null) delete object[key];
    else object[key] = value;
  }
}

function normalizeValue(value: unknown, schema: StructuralSchema, path: string): unknown {
  if (value === null || value === undefined) return schema.format === 'date-time' ? value : undefined;
  if (isQuantitySchema(schema)) return quantity(value, path);
  checkType(value, schema, path);
  if (Array.isArray(value)) return normalizeList(value, schema, path);
  if (!isObject(value)) return value;
  if (schema['x-kubernetes-preserve-unknown-fields'] === true && schema.properties === undefined) return value;
  normalizeFields(value, schema, path);
  // an empty map says nothing, an empty struct (emptyDir: {}) does
  return typeof schema.additionalProperties === 'object' && Object.keys(value).length === 0 ? undefined : value;
}

function normalizeList(items: unknown[], schema: StructuralSchema, path: string): unknown {
  if (items.length === 0) return undefined;
  const { items: itemSchema } = schema;
  if (itemSchema === undefined) return items;
  items.forEach((item, index) => {
    items[index] = normalizeValue(item, itemSchema, path) ?? zeroOf(itemSchema, item);
  });
  return items;
}

/** What a null item of a list means. */
function zeroOf({ type }: StructuralSchema, item: unknown): unknown {
  if (type === 'object') return {};
  if (item !== null) return item;
  return type === 'string' ? '' : type === 'integer' || type === 'number' ? 0 : type === 'boolean' ? false : item;
}

function quantity(value: unknown, path: string): string {
  if (typeof value !== 'string' && typeof value !== 'number') return refuse(path, typeName(value), 'resource.Quantity');
  try {
    return canonicalQuantity(value);
  } catch (error) {
    throw badRequest(`${path}: ${error instanceof Error ? error.message : String(error)}`); // parse errors only
  }
}

const typeName = (value: unknown): string => {
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'boolean') return 'bool';
  return typeof value;
};

const GO_TYPES: Readonly<Record<string, string>> = { string: 'string', integer: 'int32', boolean: 'bool', number: 'float64' };

function checkType(value: unknown, schema: StructuralSchema, path: string): void {
  const found = typeName(value);
  if (schema['x-kubernetes-int-or-string'] === true) {
    if (found !== 'string' && !Number.isInteger(value)) refuse(path, found, 'intstr.IntOrString');
    return;
  }
  const { type } = schema;
  if (type === undefined) return;
  const fits = type === 'integer' ? Number.isInteger(value) : type === found || (type === 'boolean' && found === 'bool');
  if (!fits) refuse(path, found, GO_TYPES[type] ?? type);
  if (schema.format === 'byte' && !isBase64(value as string)) {
    // type is string by now
    throw new WrongType(`${path}: illegal base64 data`);
  }
}

const isBase64 = (text: string): boolean => text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
