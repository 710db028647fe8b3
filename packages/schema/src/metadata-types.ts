import { type StructuralSchema, fieldSchema, isObject, showValue } from '@slipway/apimachinery';
import { objectMetaSchema } from './object-meta-schema.ts';
import { type PathStack, renderPath } from './path.ts';
import { typeName } from './validate.ts';

const relevant = new WeakMap<StructuralSchema, boolean>();

function hasEmbedded(schema: StructuralSchema): boolean {
  const known = relevant.get(schema);
  if (known !== undefined) return known;
  relevant.set(schema, false); // ends recursion should a schema refer to itself
  const children = [...Object.values(schema.properties ?? {}), schema.items, schema.additionalProperties];
  const found =
    schema['x-kubernetes-embedded-resource'] === true ||
    children.some((child) => typeof child === 'object' && hasEmbedded(child));
  relevant.set(schema, found);
  return found;
}

/** What is wrong with the JSON types in the metadata of an object or of a resource embedded in it; one finding at most. */
export function metadataTypeComplaint(object: Record<string, unknown>, schema: StructuralSchema): string | undefined {
  return complaintAbout(object['metadata'], ['metadata']) ?? visit(object, schema, []);
}

function visit(value: unknown, schema: StructuralSchema, stack: PathStack): string | undefined {
  if (typeof value !== 'object' || value === null || !hasEmbedded(schema)) return undefined;
  if (Array.isArray(value)) return firstOf(value.keys(), (index) => descend(index, value[index], schema.items, stack));
  if (schema['x-kubernetes-embedded-resource'] === true && isObject(value)) {
    const complaint = complaintAbout(value['metadata'], [...stack, 'metadata']);
    if (complaint !== undefined) return complaint;
  }
  return firstOf(Object.entries(value), ([key, child]) => descend(key, child, fieldSchema(schema, key), stack));
}

function descend(
  key: string | number,
  value: unknown,
  schema: StructuralSchema | undefined,
  stack: PathStack,
): string | undefined {
  return schema === undefined ? undefined : visit(value, schema, [...stack, key]);
}

function firstOf<T, R>(items: Iterable<T>, find: (item: T) => R | undefined): R | undefined {
  for (const item of items) {
    const found = find(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

function complaintAbout(metadata: unknown, stack: PathStack): string | undefined {
  if (metadata === undefined || metadata === null) return undefined;
  const wrong = mismatch(metadata, objectMetaSchema, '');
  if (wrong === undefined) return undefined;
  const text = `json: cannot unmarshal ${wrong.found} into Go struct field ObjectMeta${wrong.path} of type ${wrong.wanted}`;
  return `${renderPath(stack)}: Invalid value: ${showValue(metadata)}: ${text}`;
}

const GO_TYPES: Readonly<Record<string, string>> = {
  integer: 'int64',
  boolean: 'bool',
  object: 'map[string]string',
  array: '[]string',
};

interface Mismatch {
  readonly path: string;
  readonly found: string;
  readonly wanted: string;
}

function mismatch(value: unknown, schema: StructuralSchema, path: string): Mismatch | undefined {
  if (value === null) return undefined;
  const found = typeName(value);
  if (schema.type !== undefined && found !== schema.type) {
    return {
      path,
      found: found === 'integer' ? 'number' : found === 'boolean' ? 'bool' : found,
      wanted: GO_TYPES[schema.type] ?? schema.type,
    };
  }
  if (Array.isArray(value))
    return firstOf(value, (item) => (schema.items === undefined ? undefined : mismatch(item, schema.items, path)));
  return isObject(value) ? fieldMismatch(value, schema, path) : undefined;
}

function fieldMismatch(value: Record<string, unknown>, schema: StructuralSchema, path: string): Mismatch | undefined {
  for (const [key, child] of Object.entries(value)) {
    const isProperty = schema.properties !== undefined && Object.hasOwn(schema.properties, key);
    const field = fieldSchema(schema, key);
    const wrong = field === undefined ? undefined : mismatch(child, field, isProperty ? `${path}.${key}` : path);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}
