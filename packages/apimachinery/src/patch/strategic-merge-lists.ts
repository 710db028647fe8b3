import { badRequest } from '../errors.ts';
import { type JsonObject, canonicalJson, cloneJson, deepEqual, isObject } from '../json.ts';

interface ItemMerger {
  /** Undefined when the change deletes the item. */
  merge(item: JsonObject, change: JsonObject): JsonObject | undefined;
  create(item: JsonObject): JsonObject | undefined;
}

/** Merges a list of objects by `mergeKey`; items of the patch come in patch order, see `reorder`. */
export function mergeObjectList(
  before: readonly unknown[],
  patch: readonly unknown[],
  order: readonly unknown[] | undefined,
  mergeKey: string,
  merger: ItemMerger,
): unknown[] {
  const items = patch.map((item) => {
    if (!isObject(item)) throw badRequest('expected the patch list to hold objects');
    return item;
  });
  if (items.some((item) => item['$patch'] === 'replace')) {
    return items.filter((item) => !('$patch' in item)).map((item) => cloneJson(item));
  }
  const result = before.filter(isObject);
  for (const change of items) {
    const key = change[mergeKey];
    if (key === undefined) throw badRequest(`map: ${canonicalJson(change)} does not contain declared merge key: ${mergeKey}`);
    applyItem(result, change, (item) => deepEqual(item[mergeKey], key), merger);
  }
  const live = items.filter((item) => item['$patch'] !== 'delete');
  return reorder(result, before, orderKeys(order, mergeKey) ?? live.map((item) => item[mergeKey]), (item) =>
    isObject(item) ? item[mergeKey] : undefined,
  );
}

function applyItem(result: JsonObject[], change: JsonObject, matches: (item: JsonObject) => boolean, merger: ItemMerger): void {
  if (change['$patch'] === 'delete') {
    for (let i = result.length - 1; i >= 0; i--) if (matches(result[i] ?? {})) result.splice(i, 1);
    return;
  }
  const index = result.findIndex(matches);
  const existing = result[index];
  const merged = existing === undefined ? merger.create(change) : merger.merge(existing, change);
  if (merged === undefined) return;
  if (existing === undefined) result.push(merged);
  else result[index] = merged;
}

function orderKeys(order: readonly unknown[] | undefined, mergeKey: string): unknown[] | undefined {
  return order?.map((item) => (isObject(item) ? item[mergeKey] : item));
}

/** Merges a set of scalars: union, minus deletions, in patch order first. */
export function mergePrimitiveList(
  before: readonly unknown[] | undefined,
  patch: readonly unknown[] | undefined,
  order: readonly unknown[] | undefined,
  deletions: readonly unknown[],
): unknown[] {
  const kept = (before ?? []).filter((item) => !deletions.includes(item));
  const union = [...new Set([...kept, ...(patch ?? [])])];
  return reorder(union, before ?? [], order ?? patch ?? [], (item) => item);
}

/**
 * Items that `wanted` names follow its order; the others keep their place relative to the neighbours they had on the
 * server, and come after the wanted items that did not exist there.
 */
function reorder<T>(
  items: readonly T[],
  server: readonly unknown[],
  wanted: readonly unknown[],
  keyOf: (item: unknown) => unknown,
): T[] {
  if (wanted.length === 0) return [...items];
  const rank = new Map(wanted.map((key, index) => [canonicalJson(key), index]));
  const serverRank = new Map(server.map((item, index) => [canonicalJson(keyOf(item)), index]));
  const ranked = (item: T): number | undefined => rank.get(canonicalJson(keyOf(item)));
  const ordered = items.filter((item) => ranked(item) !== undefined).sort((a, b) => (ranked(a) ?? 0) - (ranked(b) ?? 0));
  const others = items.filter((item) => ranked(item) === undefined);
  const result: T[] = [];
  let next = 0;
  for (const item of ordered) {
    const place = serverRank.get(canonicalJson(keyOf(item)));
    while (place !== undefined && next < others.length && placeOf(others[next], serverRank, keyOf) < place) {
      result.push(others[next++] as T); // next is in range
    }
    result.push(item);
  }
  return [...result, ...others.slice(next)];
}

function placeOf(item: unknown, serverRank: ReadonlyMap<string, number>, keyOf: (item: unknown) => unknown): number {
  return serverRank.get(canonicalJson(keyOf(item))) ?? Number.MAX_SAFE_INTEGER;
}
