import { StatusError, apiVersionOf, badRequest, invalid, type FieldError } from '@slipway/apimachinery';
import { CompactedError } from '@slipway/store';
import type { Registry } from '../registry/registry.ts';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import { type StoredObject, typePrefix } from '../watch-cache/stored-object.ts';
import type { TextParts } from './request.ts';
import { parseResourceVersion, readPast, waitForRevision } from './resource-version.ts';
import { type Selection, isSelected, selectionOf } from './selection.ts';

export interface ListResult {
  readonly items: readonly StoredObject[];
  readonly revision: number;
  readonly continue?: string;
  readonly remainingItemCount?: number;
}

interface ContinueToken {
  readonly v: 'meta.k8s.io/v1';
  readonly rv: number;
  /** Key after which the next page begins. */
  readonly start: string;
}

/** Lists by the parameters of the query. Throws 400, 410 or 504. */
export async function listObjects(
  registry: Registry,
  definition: ResourceDefinition,
  namespace: string,
  query: URLSearchParams,
): Promise<ListResult> {
  checkTimeout(query);
  const selection = selectionOf(definition, query);
  const limit = limitOf(query);
  const token = query.get('continue') ?? '';
  checkVersionMatch(definition, query, token);
  const revision = parseResourceVersion(query.get('resourceVersion'));
  if (token !== '') return continueList(registry, definition, namespace, selection, limit, token, revision);
  if (revision !== undefined && revision > registry.cache.revision) await waitForRevision(registry.cache, revision);
  const collection = registry.collectionOf(definition);
  const isExact = query.get('resourceVersionMatch') === 'Exact' || (limit > 0 && isExactByLimit(query, revision));
  const at = isExact && revision ? revision : registry.cache.revision;
  const all = isExact && revision ? readPast(at, () => collection.listAt(at, namespace)) : collection.list(namespace);
  return page(registry, definition, all, { selection, limit, revision: at });
}

/** With a limit and a version but no match rule, the version is meant exactly. */
const isExactByLimit = (query: URLSearchParams, revision: number | undefined): boolean =>
  !query.get('resourceVersionMatch') && revision !== undefined && revision > 0;

/** Throws 400 for a time-out that is not a number. */
export function checkTimeout(query: URLSearchParams): void {
  const text = query.get('timeoutSeconds');
  if (text && !/^-?[0-9]+$/.test(text)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
}

function limitOf(query: URLSearchParams): number {
  const text = query.get('limit');
  if (text === null || text === '') return 0;
  const limit = Number(text);
  if (!Number.isSafeInteger(limit)) throw badRequest(`strconv.ParseInt: parsing "${text}": invalid syntax`);
  return Math.max(0, limit);
}

/** Throws 422 for match rules that make no sense. */
export function checkVersionMatch(definition: ResourceDefinition, query: URLSearchParams, token: string): void {
  const match = query.get('resourceVersionMatch');
  if (!match) return;
  const version = query.get('resourceVersion') ?? '';
  const errors: FieldError[] = [];
  const forbid = (detail: string): void => {
    errors.push({ type: 'Forbidden', path: 'resourceVersionMatch', detail: `Forbidden: ${detail}` });
  };
  if (token !== '') forbid('resourceVersionMatch is forbidden when continue is provided');
  else if (version === '') forbid('resourceVersionMatch is forbidden unless resourceVersion is provided');
  if (match !== 'Exact' && match !== 'NotOlderThan') {
    errors.push({
      type: 'NotSupported',
      path: 'resourceVersionMatch',
      detail: `Unsupported value: ${JSON.stringify(match)}: supported values: "Exact", "NotOlderThan", ""`,
    });
  } else if (match === 'Exact' && version === '0') {
    forbid('resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
  }
  if (errors.length > 0) throw invalid({ group: 'meta.k8s.io', kind: 'ListOptions' }, '', errors);
}

function continueList(
  registry: Registry,
  definition: ResourceDefinition,
  namespace: string,
  selection: Selection,
  limit: number,
  text: string,
  revision: number | undefined,
): ListResult {
  const token = decodeToken(text);
  if (revision !== undefined && revision !== 0) {
    throw badRequest('specifying resource version is not allowed when using continue');
  }
  const collection = registry.collectionOf(definition);
  const start = collection.prefix + token.start;
  // a version of -1 continues at the newest state: handed out with a 410
  if (token.rv < 0) {
    const all = collection.list(namespace).filter(({ key }) => key > start);
    return page(registry, definition, all, { selection, limit, revision: registry.cache.revision });
  }
  try {
    const all = collection.listAt(token.rv, namespace).filter(({ key }) => key > start);
    return page(registry, definition, all, { selection, limit, revision: token.rv });
  } catch (error) {
    if (error instanceof CompactedError) throw expiredToken(token);
    throw error;
  }
}

function expiredToken(token: ContinueToken): StatusError {
  const error = new StatusError({
    code: 410,
    reason: 'Expired',
    message:
      'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.',
  });
  error.status.metadata = { continue: encodeToken({ ...token, rv: -1 }) };
  return error;
}

const encodeToken = (token: ContinueToken): string => Buffer.from(JSON.stringify(token)).toString('base64url');

function decodeToken(text: string): ContinueToken {
  try {
    const token = JSON.parse(Buffer.from(text, 'base64url').toString()) as Partial<ContinueToken>; // checked below
    if (token.v === 'meta.k8s.io/v1' && Number.isSafeInteger(token.rv) && typeof token.start === 'string') {
      return token as ContinueToken; // all fields were checked
    }
  } catch {
    // falls through to the refusal
  }
  throw badRequest('invalid continue token: continue key is not valid: the token is malformed');
}

function page(
  registry: Registry,
  definition: ResourceDefinition,
  all: readonly StoredObject[],
  { selection, limit, revision }: { selection: Selection; limit: number; revision: number },
): ListResult {
  const view = (stored: StoredObject): StoredObject => registry.view(definition, stored);
  if (limit === 0) {
    const items = selection.isEverything
      ? all.map(view)
      : all.map(view).filter((stored) => isSelected(definition, selection, stored));
    return { items, revision };
  }
  const items: StoredObject[] = [];
  for (const [index, stored] of all.entries()) {
    if (items.length === limit) {
      const last = items.at(-1) as StoredObject; // limit is positive
      const token = encodeToken({ v: 'meta.k8s.io/v1', rv: revision, start: `${last.namespace}/${last.name}` });
      return { items, revision, continue: token, ...(selection.isEverything && { remainingItemCount: all.length - index }) };
    }
    const shown = view(stored);
    if (isSelected(definition, selection, shown)) items.push(shown);
  }
  return { items, revision };
}

/** The list as JSON text, put together from the stored texts. */
export function listText(definition: ResourceDefinition, { items, ...result }: ListResult): TextParts {
  const apiVersion = apiVersionOf(definition);
  const metadata: Record<string, unknown> = { resourceVersion: String(result.revision) };
  if (result.continue !== undefined || definition.custom) metadata['continue'] = result.continue ?? '';
  if (result.remainingItemCount !== undefined) metadata['remainingItemCount'] = result.remainingItemCount;
  // items of built-in kinds come without kind and apiVersion
  const cut = definition.custom ? 0 : typePrefix(definition.kind, apiVersion).length;
  const start = `${typePrefix(definition.listKind, apiVersion)}"metadata":${JSON.stringify(metadata)},"items":[`;
  const commas = Math.max(0, items.length - 1);
  const ownBytes = Buffer.byteLength(start) + commas + 2; // and the end
  const opening = cut === 0 ? 0 : 1 - cut;
  const byteLength = items.reduce((sum, item) => sum + item.byteLength + opening, ownBytes);
  return { byteLength, pieces: pieces(start, items, cut) };
}

function* pieces(start: string, items: readonly StoredObject[], cut: number): Generator<string> {
  yield start;
  let isFirst = true;
  for (const { json } of items) {
    if (!isFirst) yield ',';
    isFirst = false;
    if (cut === 0) yield json;
    else {
      yield '{';
      yield json.slice(cut);
    }
  }
  yield ']}';
}
