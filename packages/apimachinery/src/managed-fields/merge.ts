import { type JsonObject, getOwn, isObject, setOwn } from '../json.ts';
import { type StructuralSchema, fieldSchema } from '../structural-schema.ts';
import { fieldElement, granularityOf, keyedItems, tryKeyedItems } from './elements.ts';
import { type FieldSet, isMember, nodeOf } from './field-set.ts';

/** `live` with everything `config` says laid over it; owned lists are merged item by item. Throws ListKeyError. */
export function mergeObjects(live: JsonObject, config: JsonObject, schema: StructuralSchema | undefined): JsonObject {
  const result: JsonObject = { ...live };
  for (const key of Object.keys(config)) {
    setOwn(result, key, mergeValues(getOwn(live, key), config[key], fieldSchema(schema, key)));
  }
  return result;
}

function mergeValues(live: unknown, config: unknown, schema: StructuralSchema | undefined): unknown {
  const granularity = granularityOf(config, schema);
  if (granularity === 'map' && isObject(config)) return mergeObjects(isObject(live) ? live : {}, config, schema);
  if (granularity === 'list' && schema !== undefined && Array.isArray(config)) return mergeLists(live, config, schema);
  return config;
}

function mergeLists(live: unknown, config: readonly unknown[], schema: StructuralSchema): unknown[] {
  const wanted = keyedItems(config, schema);
  const present = tryKeyedItems(Array.isArray(live) ? live : undefined, schema);
  if (present === undefined) return [...config];
  const result: unknown[] = [];
  for (const [element, item] of present) {
    result.push(wanted.has(element) ? mergeValues(item, wanted.get(element), schema.items) : item);
  }
  for (const [element, item] of wanted) if (!present.has(element)) result.push(item);
  return result;
}

/** `object` without the members of `set`. Objects and lists that become empty go, too. */
export function removeItems(object: JsonObject, set: FieldSet, schema: StructuralSchema | undefined): JsonObject {
  const result: JsonObject = {};
  for (const key of Object.keys(object)) {
    const node = set[fieldElement(key)];
    const value = object[key];
    if (node === undefined) setOwn(result, key, value);
    else if (!isMember(node)) {
      const rest = removeBelow(value, node, fieldSchema(schema, key));
      if (rest !== undefined) setOwn(result, key, rest);
    }
  }
  return result;
}

function removeBelow(value: unknown, set: FieldSet, schema: StructuralSchema | undefined): unknown {
  const granularity = granularityOf(value, schema);
  if (granularity === 'map' && isObject(value)) {
    const rest = removeItems(value, set, schema);
    return Object.keys(rest).length === 0 ? undefined : rest;
  }
  if (granularity !== 'list' || schema === undefined || !Array.isArray(value)) return value;
  const items = tryKeyedItems(value, schema);
  if (items === undefined) return value;
  const rest: unknown[] = [];
  for (const [element, item] of items) {
    const node = set[element];
    if (node === undefined) rest.push(item);
    else if (!isMember(node)) rest.push(removeBelow(item, node, schema.items) ?? {});
  }
  return rest.length === 0 ? undefined : rest;
}

/** The set plus every named object on the way to its members: removing all of an object's fields removes the object. */
export function withNamedParents(set: FieldSet, schema: StructuralSchema | undefined): FieldSet {
  const result: Record<string, FieldSet> = {};
  for (const element of Object.keys(set)) {
    const node = set[element];
    if (element === '.' || node === undefined) continue;
    const isField = element.startsWith('f:');
    const name = element.slice(2);
    const below = isField ? fieldSchema(schema, name) : schema?.items;
    const named = isField && schema?.properties !== undefined && Object.hasOwn(schema.properties, name);
    const children = withNamedParents(node, below);
    const expanded = nodeOf(named || isMember(node), children);
    if (expanded !== undefined) result[element] = expanded;
  }
  return result;
}
