import { deepEqual, isObject, type JsonObject } from '@slipway/apimachinery';

/**
 * What an object will be when it is applied: the fields of the target in the live object, without those that were
 * applied last and are not in the target any more. Fields that others or defaults have added stay.
 */
export function predict(live: unknown, target: unknown, last: unknown): unknown {
  if (isObject(target) && isObject(live)) return predictMap(live, target, isObject(last) ? last : {});
  if (Array.isArray(target) && Array.isArray(live)) return predictList(live, target, Array.isArray(last) ? last : []);
  return target;
}

function predictMap(live: JsonObject, target: JsonObject, last: JsonObject): JsonObject {
  const result: JsonObject = { ...live };
  for (const key of Object.keys(last)) if (!Object.hasOwn(target, key)) delete result[key];
  for (const [key, value] of Object.entries(target)) {
    // a null in a manifest says nothing
    if (value === null || value === undefined) continue;
    result[key] = Object.hasOwn(live, key) ? predict(live[key], value, last[key]) : value;
  }
  return result;
}

/** Items of objects are matched by name, or by place when the lists are of one length; other lists are replaced. */
function predictList(live: readonly unknown[], target: readonly unknown[], last: readonly unknown[]): unknown[] {
  const nameOf = (item: unknown): unknown => (isObject(item) ? item['name'] : undefined);
  const isNamed = [...live, ...target].every((item) => typeof nameOf(item) === 'string');
  if (isNamed) {
    const find = (list: readonly unknown[], item: unknown): unknown => list.find((other) => nameOf(other) === nameOf(item));
    return target.map((item) => (find(live, item) === undefined ? item : predict(find(live, item), item, find(last, item))));
  }
  if (live.length !== target.length) return [...target];
  return target.map((item, index) => (isObject(item) && isObject(live[index]) ? predict(live[index], item, last[index]) : item));
}

/** The merge patch that turns one object into the other; undefined when nothing differs. */
export function mergePatch(from: JsonObject, to: JsonObject): JsonObject | undefined {
  const patch: JsonObject = {};
  for (const key of Object.keys(from)) if (to[key] === undefined && from[key] !== undefined) patch[key] = null;
  for (const [key, value] of Object.entries(to)) {
    const old = from[key];
    if (value === undefined || deepEqual(old, value)) continue;
    const inner = isObject(old) && isObject(value) ? mergePatch(old, value) : value;
    if (inner !== undefined) patch[key] = inner;
  }
  return Object.keys(patch).length === 0 ? undefined : patch;
}
