import { badRequest } from '../errors.ts';
import { type JsonObject, cloneJson, deepEqual, getOwn, isObject, setOwn } from '../json.ts';
import { type StructuralSchema, fieldSchema } from '../structural-schema.ts';
import { mergeObjectList, mergePrimitiveList } from './strategic-merge-lists.ts';

export const PATCH_DIRECTIVE = '$patch';
const RETAIN_KEYS = '$retainKeys';
const SET_ORDER = '$setElementOrder/';
const DELETE_PRIMITIVE = '$deleteFromPrimitiveList/';

/**
 * Kubernetes strategic merge: like a merge patch, but lists that the schema gives a merge key or strategy are merged
 * item by item, and `$patch`, `$retainKeys`, `$setElementOrder/x`, `$deleteFromPrimitiveList/x` steer it.
 * The target is not modified. Throws StatusError 400 for a patch that makes no sense.
 */
export function applyStrategicMergePatch(target: JsonObject, patch: unknown, schema: StructuralSchema | undefined): JsonObject {
  if (!isObject(patch)) throw badRequest('json: cannot unmarshal array into Go value of type map[string]interface {}');
  return mergeObject(target, patch, schema) ?? {};
}

/** Undefined when the patch deletes the object. */
export function mergeObject(
  target: JsonObject | undefined,
  patch: JsonObject,
  schema: StructuralSchema | undefined,
): JsonObject | undefined {
  const directive = patch[PATCH_DIRECTIVE];
  if (directive === 'delete') return undefined;
  if (directive === 'replace') return stripDirectives(patch);
  if (directive !== undefined && directive !== 'merge')
    throw badRequest(`Unknown patch type found: ${JSON.stringify(directive)}`);

  const result: JsonObject = { ...target };
  if (Array.isArray(patch[RETAIN_KEYS])) retainKeys(result, patch, patch[RETAIN_KEYS]);
  for (const field of listFields(patch)) mergeField(result, patch, field, fieldSchema(schema, field));
  return result;
}

/** Fields the patch says anything about, lists that only directives name included. */
function listFields(patch: JsonObject): Set<string> {
  const fields = new Set<string>();
  for (const key of Object.keys(patch)) {
    if (key === PATCH_DIRECTIVE || key === RETAIN_KEYS) continue;
    if (key.startsWith(SET_ORDER)) fields.add(key.slice(SET_ORDER.length));
    else if (key.startsWith(DELETE_PRIMITIVE)) fields.add(key.slice(DELETE_PRIMITIVE.length));
    else fields.add(key);
  }
  return fields;
}

function retainKeys(result: JsonObject, patch: JsonObject, keys: readonly unknown[]): void {
  for (const field of listFields(patch)) {
    if (patch[field] !== null && !keys.includes(field))
      throw badRequest('invalid patch: $retainKeys does not name every field set');
  }
  for (const field of Object.keys(result)) if (!keys.includes(field)) delete result[field];
}

function mergeField(result: JsonObject, patch: JsonObject, field: string, schema: StructuralSchema | undefined): void {
  const value = patch[field];
  const before = getOwn(result, field);
  const order = patch[SET_ORDER + field];
  const deletions = patch[DELETE_PRIMITIVE + field];
  if (value === null) {
    delete result[field];
    return;
  }
  if (Array.isArray(value) || order !== undefined || deletions !== undefined) {
    const merged = mergeList(asList(before), asList(value), schema, { order, deletions });
    if (merged === undefined) delete result[field];
    else setOwn(result, field, merged);
    return;
  }
  if (!isObject(value)) {
    setOwn(result, field, value);
    return;
  }
  const merged =
    isObject(before) || hasDirective(value)
      ? mergeObject(isObject(before) ? before : undefined, value, schema)
      : stripNested(value, schema);
  if (merged === undefined) delete result[field];
  else setOwn(result, field, merged);
}

const hasDirective = (patch: JsonObject): boolean => PATCH_DIRECTIVE in patch;
const asList = (value: unknown): unknown[] | undefined => (Array.isArray(value) ? value : undefined);

/** A new object: nulls inside mean nothing, directives inside are obeyed against nothing. */
function stripNested(patch: JsonObject, schema: StructuralSchema | undefined): JsonObject | undefined {
  return mergeObject(undefined, patch, schema);
}

interface ListDirectives {
  readonly order: unknown;
  readonly deletions: unknown;
}

function mergeList(
  before: readonly unknown[] | undefined,
  patch: readonly unknown[] | undefined,
  schema: StructuralSchema | undefined,
  { order, deletions }: ListDirectives,
): unknown[] | undefined {
  const mergeKey = schema?.['x-kubernetes-patch-merge-key'];
  const merges = schema?.['x-kubernetes-patch-strategy']?.split(',').includes('merge') ?? false;
  if (!merges) return patch === undefined ? cloneJson(before as unknown[] | undefined) : patch.map(stripItem);
  const wantedOrder = Array.isArray(order) ? order : undefined;
  if (mergeKey === undefined) {
    return mergePrimitiveList(before, patch, wantedOrder, Array.isArray(deletions) ? deletions : []);
  }
  return mergeObjectList(before ?? [], patch ?? [], wantedOrder, mergeKey, {
    merge: (item, change) => mergeObject(item, change, schema?.items),
    create: (item) => stripNested(item, schema?.items),
  });
}

const stripItem = (item: unknown): unknown => (isObject(item) && hasDirective(item) ? stripDirectives(item) : cloneJson(item));

function stripDirectives(patch: JsonObject): JsonObject {
  const { [PATCH_DIRECTIVE]: _directive, ...rest } = patch;
  return cloneJson(rest);
}

/** True when the patch would leave the object as it is. */
export function isStrategicNoOp(target: JsonObject, patch: JsonObject, schema: StructuralSchema | undefined): boolean {
  return deepEqual(target, applyStrategicMergePatch(target, patch, schema));
}
