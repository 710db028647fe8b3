import { type JsonObject, deepEqual, getOwn, isObject } from '../json.ts';
import { type StructuralSchema, fieldSchema } from '../structural-schema.ts';
import { fieldElement, granularityOf, keyedItems, tryKeyedItems } from './elements.ts';
import { EMPTY, type FieldSet, isEmptySet, nodeOf } from './field-set.ts';

/** What differs between two values. */
export interface Comparison {
  readonly added: FieldSet;
  readonly modified: FieldSet;
  readonly removed: FieldSet;
}

interface Nodes {
  added: FieldSet | undefined;
  modified: FieldSet | undefined;
  removed: FieldSet | undefined;
}

const NOTHING: Readonly<Nodes> = { added: undefined, modified: undefined, removed: undefined };
const NO_NAMES: ReadonlySet<string> = new Set();

/**
 * Compares two objects. `implicitFields` names objects that exist even when they are not written (the nested structs
 * of built-in kinds): their first field does not make the object itself appear.
 */
export function compareObjects(
  before: JsonObject,
  after: JsonObject,
  schema: StructuralSchema | undefined,
  implicitFields: ReadonlySet<string> = NO_NAMES,
): Comparison {
  const { added, modified, removed } = compareMaps(before, after, schema, implicitFields);
  return { added: added ?? EMPTY, modified: modified ?? EMPTY, removed: removed ?? EMPTY };
}

export const isSame = ({ added, modified, removed }: Comparison): boolean =>
  isEmptySet(added) && isEmptySet(modified) && isEmptySet(removed);

function compareValues(
  before: unknown,
  after: unknown,
  schema: StructuralSchema | undefined,
  implicit: ReadonlySet<string>,
  isImplicit: boolean,
): Readonly<Nodes> {
  if (before === after) return NOTHING;
  const granularity = granularityOf(after === undefined ? before : after, schema);
  if (granularity === 'map' && isMapOrAbsent(before) && isMapOrAbsent(after) && !areBlank(before, after)) {
    const nodes = compareMaps(before ?? {}, after ?? {}, schema, implicit);
    return {
      added: nodeOf(before === undefined && !isImplicit, nodes.added),
      modified: nodes.modified,
      removed: nodeOf(after === undefined && !isImplicit, nodes.removed),
    };
  }
  if (granularity === 'list' && schema !== undefined) {
    const nodes = compareLists(before, after, schema, implicit);
    if (nodes !== undefined) return nodes;
  }
  return compareLeaves(before, after, isImplicit);
}

/** The null of a struct that nobody filled. */
const isUnfilled = (before: unknown, after: unknown): boolean => (before ?? null) === (after ?? null);

const isMapOrAbsent = (value: unknown): value is JsonObject | undefined => value === undefined || isObject(value);

const areBlank = (before: unknown, after: unknown): boolean => isBlank(before) && isBlank(after);

function isBlank(value: unknown): boolean {
  if (value === undefined) return true;
  return Array.isArray(value) ? value.length === 0 : isObject(value) && Object.keys(value).length === 0;
}

function compareLeaves(before: unknown, after: unknown, isImplicit: boolean): Readonly<Nodes> {
  if (isImplicit && isUnfilled(before, after)) return NOTHING;
  if (before === undefined) return { ...NOTHING, added: EMPTY };
  if (after === undefined) return { ...NOTHING, removed: EMPTY };
  return deepEqual(before, after) ? NOTHING : { ...NOTHING, modified: EMPTY };
}

class Collector {
  private readonly nodes: Record<keyof Nodes, Record<string, FieldSet>> = { added: {}, modified: {}, removed: {} };

  add(element: string, { added, modified, removed }: Readonly<Nodes>): void {
    if (added !== undefined) this.nodes.added[element] = added;
    if (modified !== undefined) this.nodes.modified[element] = modified;
    if (removed !== undefined) this.nodes.removed[element] = removed;
  }

  result(): Readonly<Nodes> {
    const { added, modified, removed } = this.nodes;
    return { added: nodeOf(false, added), modified: nodeOf(false, modified), removed: nodeOf(false, removed) };
  }
}

function compareMaps(
  before: JsonObject,
  after: JsonObject,
  schema: StructuralSchema | undefined,
  implicit: ReadonlySet<string>,
): Readonly<Nodes> {
  const collector = new Collector();
  const visit = (key: string): void => {
    const left = getOwn(before, key);
    const right = getOwn(after, key);
    if (left === right) return;
    collector.add(fieldElement(key), compareValues(left, right, fieldSchema(schema, key), implicit, implicit.has(key)));
  };
  for (const key in after) visit(key);
  for (const key in before) if (!Object.hasOwn(after, key)) visit(key);
  return collector.result();
}

/** Undefined when the items have no proper keys. */
function compareLists(
  before: unknown,
  after: unknown,
  schema: StructuralSchema,
  implicit: ReadonlySet<string>,
): Readonly<Nodes> | undefined {
  if (isBlank(before) && isBlank(after)) return undefined;
  const left = tryKeyedItems(Array.isArray(before) ? before : undefined, schema);
  const right = tryKeyedItems(Array.isArray(after) ? after : undefined, schema);
  if (left === undefined || right === undefined) return undefined;
  const collector = new Collector();
  const visit = (element: string): void => {
    collector.add(element, compareValues(left.get(element), right.get(element), schema.items, implicit, false));
  };
  for (const element of right.keys()) visit(element);
  for (const element of left.keys()) if (!right.has(element)) visit(element);
  return collector.result();
}

/** Every path an applied configuration claims. Throws ListKeyError. */
export const fieldSetOf = (object: JsonObject, schema: StructuralSchema | undefined): FieldSet =>
  fieldsOf(object, schema, keyedItems);

/** Every path of a stored object, whose lists may have keys twice, as the addresses of a node; those lists are one. */
export const storedFieldSetOf = (object: JsonObject, schema: StructuralSchema | undefined): FieldSet =>
  fieldsOf(object, schema, tryKeyedItems);

type ItemsByKey = (items: readonly unknown[], schema: StructuralSchema) => Map<string, unknown> | undefined;

function fieldsOf(object: JsonObject, schema: StructuralSchema | undefined, itemsByKey: ItemsByKey): FieldSet {
  const result: Record<string, FieldSet> = {};
  for (const key of Object.keys(object)) {
    const value = object[key];
    const named = schema?.properties !== undefined && Object.hasOwn(schema.properties, key);
    const below = belowOf(value, fieldSchema(schema, key), itemsByKey);
    const isEmptyMap = isObject(value) && Object.keys(value).length === 0;
    const node = nodeOf(!named || value === null || isEmptyMap || below === undefined, below);
    if (node !== undefined) result[fieldElement(key)] = node;
  }
  return result;
}

/** Undefined for what is owned as one. */
function belowOf(value: unknown, schema: StructuralSchema | undefined, itemsByKey: ItemsByKey): FieldSet | undefined {
  const granularity = granularityOf(value, schema);
  if (granularity === 'map') return fieldsOf(value as JsonObject, schema, itemsByKey); // maps are objects
  if (granularity === 'leaf' || schema === undefined) return undefined;
  const keyed = itemsByKey(value as unknown[], schema); // lists are arrays
  if (keyed === undefined) return undefined;
  const items: Record<string, FieldSet> = {};
  for (const [element, item] of keyed) items[element] = nodeOf(true, belowOf(item, schema.items, itemsByKey)) ?? EMPTY;
  return items;
}
