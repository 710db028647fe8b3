import { badRequest } from '../errors.ts';
import { type JsonObject, cloneJson, getOwn, isObject, setOwn } from '../json.ts';

/** RFC 7396 for objects: null deletes, lists are replaced. The target is not modified. Throws StatusError 400. */
export function applyMergePatch(target: JsonObject, patch: unknown): JsonObject {
  if (!isObject(patch)) throw badRequest('json: cannot unmarshal array into Go value of type map[string]interface {}');
  return merge(target, patch);
}

function merge(target: unknown, patch: JsonObject): JsonObject {
  const result: JsonObject = isObject(target) ? { ...target } : {};
  for (const key of Object.keys(patch)) {
    const value = patch[key];
    if (value === null) delete result[key];
    else setOwn(result, key, isObject(value) ? merge(getOwn(result, key), value) : cloneJson(value));
  }
  return result;
}
