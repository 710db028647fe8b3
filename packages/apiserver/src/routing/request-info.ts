/** What a request is about; the one source for routing and for authorization. */
export interface RequestInfo {
  readonly isResource: boolean;
  /** `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; lower-case method otherwise. */
  readonly verb: string;
  readonly group: string;
  readonly version: string;
  readonly namespace: string;
  readonly resource: string;
  /** Everything after the name, joined by slashes. */
  readonly subresource: string;
  readonly name: string;
  readonly path: string;
}

const METHOD_VERBS: Readonly<Record<string, string>> = { POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' };
const NAMESPACE_SUBRESOURCES = new Set(['status', 'finalize']);

/** Splits a path of the Kubernetes URL grammar. Segments are percent-decoded; throws URIError for a bad escape. */
export function requestInfo(method: string, path: string, query: URLSearchParams): RequestInfo {
  const segments = segmentsOf(path);
  const isCore = segments[0] === 'api';
  const fixed = isCore ? 2 : 3;
  const none = { group: '', version: '', namespace: '', resource: '', subresource: '', name: '' };
  if ((!isCore && segments[0] !== 'apis') || segments.length <= fixed) {
    return { isResource: false, verb: method.toLowerCase(), ...none, path };
  }
  const group = isCore ? '' : (segments[1] ?? '');
  const version = segments[fixed - 1] ?? '';
  let rest = segments.slice(fixed);
  const isWatchPath = rest[0] === 'watch' && rest.length > 1;
  if (isWatchPath) rest = rest.slice(1);
  const { namespace, parts } = splitNamespace(rest);
  const [resource = '', name = '', ...subresource] = parts;
  const target = { group, version, namespace, resource, name, subresource: subresource.join('/'), path };
  return { isResource: true, verb: verbOf(method, target, query, isWatchPath), ...target };
}

/** Parts of a path, decoded; empty ones do not count. */
function segmentsOf(path: string): string[] {
  const segments = path.split('/').filter((segment) => segment !== '');
  return path.includes('%') ? segments.map(decodeURIComponent) : segments;
}

/** `namespaces/x` alone is the Namespace object; with anything but its own subresources after it, a scope. */
function splitNamespace(rest: readonly string[]): { namespace: string; parts: readonly string[] } {
  if (rest[0] !== 'namespaces' || rest.length < 2) return { namespace: '', parts: rest };
  const namespace = rest[1] ?? '';
  if (rest.length > 2 && !NAMESPACE_SUBRESOURCES.has(rest[2] ?? '')) return { namespace, parts: rest.slice(2) };
  return { namespace, parts: rest };
}

function verbOf(method: string, target: { name: string }, query: URLSearchParams, isWatchPath: boolean): string {
  if (method === 'GET' || method === 'HEAD') {
    if (isWatchPath) return 'watch';
    if (target.name !== '') return 'get';
    return isWatchQuery(query) ? 'watch' : 'list';
  }
  const verb = METHOD_VERBS[method] ?? method.toLowerCase();
  return verb === 'delete' && target.name === '' ? 'deletecollection' : verb;
}

/** Any value of `watch` but `false` and `0` asks for a watch. */
export function isWatchQuery(query: URLSearchParams): boolean {
  const value = query.get('watch');
  return value !== null && value !== 'false' && value !== '0';
}
