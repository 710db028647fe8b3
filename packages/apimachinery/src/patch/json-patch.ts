import { StatusError, badRequest } from '../errors.ts';
import { type JsonObject, deepEqual, getOwn, isObject, setOwn } from '../json.ts';

/** More operations than this are refused, as upstream does. */
export const MAX_JSON_PATCH_OPERATIONS = 10_000;

interface Operation {
  readonly op: string;
  readonly path: string;
  readonly from?: string;
  readonly value?: unknown;
}

/** The answer to an operation that does not fit the document: 422 without details. */
function rejected(cause: string | Error): StatusError {
  return new StatusError(
    { code: 422, reason: 'Invalid', message: 'the server rejected our request due to an error in our request', details: {} },
    typeof cause === 'string' ? new Error(cause) : cause,
  );
}

/** RFC 6902. The document is not modified; untouched parts are shared with the result. Throws StatusError 400 or 422. */
export function applyJsonPatch(document: unknown, patch: unknown): unknown {
  const operations = parseOperations(patch);
  const owned = new Set<object>(); // containers made by this call, free to be changed in place
  return operations.reduce((current, operation) => applyOperation(current, operation, owned), document);
}

function parseOperations(patch: unknown): Operation[] {
  if (!Array.isArray(patch)) throw badRequest('json: cannot unmarshal object into Go value of type jsonpatch.Patch');
  if (patch.length > MAX_JSON_PATCH_OPERATIONS) {
    throw new StatusError({
      code: 413,
      reason: 'RequestEntityTooLarge',
      message: `Request entity too large: The allowed maximum operations in a JSON patch is ${MAX_JSON_PATCH_OPERATIONS}, got ${patch.length}`,
    });
  }
  return patch.map((operation: unknown) => {
    if (!isObject(operation)) throw badRequest('json: cannot unmarshal value into Go value of type jsonpatch.Operation');
    const { op, path, from, value } = operation;
    if (typeof op !== 'string' || typeof path !== 'string') throw rejected('operation without op or path');
    if (from !== undefined && typeof from !== 'string') throw rejected('from is not a string');
    return { op, path, ...(from !== undefined && { from }), ...('value' in operation && { value }) };
  });
}

function applyOperation(document: unknown, operation: Operation, owned: Set<object>): unknown {
  try {
    return performOperation(document, operation, owned);
  } catch (error) {
    if (!(error instanceof StatusError) || !(error.cause instanceof MissingPath)) throw error;
    throw rejected(
      `${operation.op} operation does not apply: doc is missing path: ${JSON.stringify(operation.path)}: missing value`,
    );
  }
}

/** A part of the pointer that the document lacks. */
class MissingPath extends Error {}

const missing = (part: string): StatusError => rejected(new MissingPath(part));

function performOperation(document: unknown, operation: Operation, owned: Set<object>): unknown {
  const path = parsePointer(operation.path);
  switch (operation.op) {
    case 'add':
      return edit(document, path, owned, 'add', operation.value ?? null);
    case 'replace':
      return edit(document, path, owned, 'replace', operation.value ?? null);
    case 'remove':
      return edit(document, path, owned, 'remove', undefined);
    case 'test':
      if (!deepEqual(read(document, path, true) ?? null, operation.value ?? null))
        throw rejected(`test failed at ${operation.path}`);
      return document;
    case 'move':
      return move(document, operation, path, owned);
    case 'copy':
      return edit(document, path, release(owned), 'add', read(document, parsePointer(operation.from ?? ''), false));
    default:
      throw rejected(`unexpected kind: ${operation.op}`);
  }
}

function move(document: unknown, { from = '', path: target }: Operation, path: readonly string[], owned: Set<object>): unknown {
  if (from === target) return document;
  if (target.startsWith(`${from}/`)) throw rejected('move into itself');
  const source = parsePointer(from);
  const value = read(document, source, false);
  return edit(edit(document, source, owned, 'remove', undefined), path, owned, 'add', value);
}

/** A copied value appears twice in the result, so nothing may be changed in place any more. */
function release(owned: Set<object>): Set<object> {
  owned.clear();
  return owned;
}

function parsePointer(pointer: string): string[] {
  if (pointer === '') return [];
  if (!pointer.startsWith('/')) throw rejected(`not a pointer: ${pointer}`);
  return pointer
    .slice(1)
    .split('/')
    .map((part) => (part.includes('~') ? part.replaceAll('~1', '/').replaceAll('~0', '~') : part));
}

function indexOf(part: string, length: number, action: string): number {
  if (part === '-' && action === 'add') return length;
  if (!/^-?(0|[1-9][0-9]{0,9})$/.test(part)) throw rejected(`not an index: ${part}`);
  let index = Number(part);
  if (index < 0) index += length + (action === 'add' ? 1 : 0);
  if (index < 0 || index > length - (action === 'add' ? 0 : 1)) throw rejected(`index out of range: ${part}`);
  return index;
}

/** `lenient`: a missing last member reads as null, which is how upstream's `test` sees it. */
function read(document: unknown, path: readonly string[], lenient: boolean): unknown {
  let current = document;
  path.forEach((part, depth) => {
    if (Array.isArray(current)) current = current[indexOf(part, current.length, 'read')];
    else if (isObject(current)) {
      if (!Object.hasOwn(current, part) && !(lenient && depth === path.length - 1)) throw missing(part);
      current = getOwn(current, part);
    } else throw missing(part);
  });
  return current;
}

type Action = 'add' | 'replace' | 'remove';

function edit(node: unknown, path: readonly string[], owned: Set<object>, action: Action, value: unknown): unknown {
  const [part, ...rest] = path;
  if (part === undefined) {
    if (action === 'remove') throw rejected('the whole document can not be removed');
    return value;
  }
  if (Array.isArray(node)) return editArray(node, part, rest, owned, action, value);
  if (!isObject(node)) throw missing(part);
  const copy = own(node, owned);
  if (rest.length > 0) {
    if (!Object.hasOwn(copy, part)) throw missing(part);
    setOwn(copy, part, edit(copy[part], rest, owned, action, value));
  } else if (action === 'add') setOwn(copy, part, value);
  else if (!Object.hasOwn(copy, part)) throw missing(part);
  else if (action === 'remove') delete copy[part];
  else setOwn(copy, part, value);
  return copy;
}

function editArray(
  node: readonly unknown[],
  part: string,
  rest: readonly string[],
  owned: Set<object>,
  action: Action,
  value: unknown,
): unknown[] {
  const copy = own(node as unknown[], owned); // a copy unless this call made it
  const index = indexOf(part, copy.length, rest.length > 0 ? 'read' : action);
  if (rest.length > 0) copy[index] = edit(copy[index], rest, owned, action, value);
  else if (action === 'add') copy.splice(index, 0, value);
  else if (action === 'remove') copy.splice(index, 1);
  else copy[index] = value;
  return copy;
}

function own<T extends JsonObject | unknown[]>(node: T, owned: Set<object>): T {
  if (owned.has(node)) return node;
  const copy = (Array.isArray(node) ? node.slice() : Object.assign({}, node)) as T; // same shape, one level deep
  owned.add(copy);
  return copy;
}
