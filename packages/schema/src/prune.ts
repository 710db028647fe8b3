import { type JsonObject, type StructuralSchema, isObject, setOwn } from '@slipway/apimachinery';
import { objectMetaSchema } from './object-meta-schema.ts';
import { type PathStack, renderPath } from './path.ts';

export interface PruneResult<T> {
  /** The same object when nothing was unknown. */
  readonly value: T;
  /** Paths of the dropped fields, sorted, for `unknown field "…"` warnings and strict errors. */
  readonly unknownFields: readonly string[];
}

export interface PruneOptions {
  /** A whole object: `apiVersion`, `kind` and `metadata` are known. */
  readonly isRoot?: boolean;
  /** Report unknown fields as they come, which is how built-in kinds do it; default sorted. */
  readonly inDocumentOrder?: boolean;
}

/**
 * Drops fields the schema does not know. `isRoot` adds `apiVersion`, `kind` and `metadata` to what is known, as for
 * every whole object and embedded resource.
 */
export function prune<T>(value: T, schema: StructuralSchema, options: PruneOptions = {}): PruneResult<T> {
  const unknown: string[] = [];
  const pruned = visit(value, schema, [], unknown, options.isRoot === true) as T; // dropping fields keeps the type
  return { value: pruned, unknownFields: options.inDocumentOrder === true ? unknown : unknown.sort() };
}

function visit(value: unknown, schema: StructuralSchema, stack: PathStack, unknown: string[], isResource: boolean): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return visitArray(value, schema, stack, unknown);
  return isObject(value) ? visitObject(value, schema, stack, unknown, isResource) : value;
}

function visitArray(items: readonly unknown[], schema: StructuralSchema, stack: PathStack, unknown: string[]): unknown {
  const { items: itemSchema } = schema;
  if (itemSchema === undefined) return items;
  let copy: unknown[] | undefined;
  for (let i = 0; i < items.length; i++) {
    stack.push(i);
    const item = visit(items[i], itemSchema, stack, unknown, itemSchema['x-kubernetes-embedded-resource'] === true);
    stack.pop();
    if (item === items[i]) continue;
    copy ??= [...items];
    copy[i] = item;
  }
  return copy ?? items;
}

function visitObject(
  value: JsonObject,
  schema: StructuralSchema,
  stack: PathStack,
  unknown: string[],
  isResource: boolean,
): JsonObject {
  let copy: JsonObject | undefined;
  for (const key in value) {
    const known = knownField(schema, key, isResource);
    stack.push(key);
    if (known === undefined) {
      unknown.push(renderPath(stack));
      copy ??= { ...value };
      delete copy[key];
    } else if (known !== true) {
      const child = visit(value[key], known, stack, unknown, known['x-kubernetes-embedded-resource'] === true);
      if (child !== value[key]) setOwn((copy ??= { ...value }), key, child);
    }
    stack.pop();
  }
  return copy ?? value;
}

/** The field's schema, true for a field that is kept as it is, undefined for one to drop. */
function knownField(schema: StructuralSchema, key: string, isResource: boolean): StructuralSchema | true | undefined {
  if (isResource) {
    if (key === 'metadata') return objectMetaSchema;
    if (key === 'apiVersion' || key === 'kind') return true;
  }
  const { properties, additionalProperties } = schema;
  if (properties !== undefined && Object.hasOwn(properties, key)) return properties[key];
  if (typeof additionalProperties === 'object') return additionalProperties;
  const keepsUnknown = schema['x-kubernetes-preserve-unknown-fields'] === true || additionalProperties === true;
  return keepsUnknown ? true : undefined;
}
