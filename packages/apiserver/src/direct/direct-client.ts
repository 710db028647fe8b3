import {
  type KubeObject,
  type ObjectKey,
  type ObjectList,
  type ResourceKind,
  type Status,
  StatusError,
  type WatchEvent,
  isObject,
} from '@slipway/apimachinery';
import {
  type CallOptions,
  type Client,
  type ConnectRequest,
  type ListOptions,
  type PatchOptions,
  type WriteOptions,
  type MessageStream,
  type Query,
  type RawRequest,
  type RawResponse,
  collectionPath,
  deleteBody,
  listQuery,
  patchContentType,
  patchQuery,
  resourcePath,
  watchQuery,
  writeQuery,
} from '@slipway/client';
import type { UserInfo } from '@slipway/runtime';
import { handleRequest } from '../pipeline/pipeline.ts';
import type { ApiRequest, ApiResponse, WatchSession } from '../pipeline/request.ts';
import type { ServerContext } from '../pipeline/server-context.ts';
import { openStream } from '../routing/streams.ts';
import { connectInProcess } from './message-pair.ts';

const NEVER = new AbortController().signal;

/**
 * A client that calls the request pipeline without a network: same authorization, admission and audit. What it returns
 * is shared with the server's cache and frozen; what it is given is copied.
 */
export function directClient(server: ServerContext, user: UserInfo, name: string): Client {
  const send = (method: string, path: string, query: Query, body: unknown, options: CallOptions = {}, headers = {}) =>
    call(server, request({ method, path, query, body, signal: options.signal, user, name, headers }));
  return {
    get: <T extends KubeObject>(kind: ResourceKind<T>, key: ObjectKey, options: CallOptions & { subresource?: string } = {}) =>
      send('GET', resourcePath(kind, key, options.subresource), {}, undefined, options).then(valueOf<T>),
    list: <T extends KubeObject>(kind: ResourceKind<T>, options: ListOptions = {}) =>
      send('GET', collectionPath(kind, options.namespace), listQuery(options), undefined, options).then(valueOf<ObjectList<T>>),
    create<T extends KubeObject>(kind: ResourceKind<T>, object: T, options: WriteOptions = {}) {
      const { namespace = '', name: objectName = '' } = object.metadata;
      const path = options.subresource
        ? resourcePath(kind, { namespace, name: objectName }, options.subresource)
        : collectionPath(kind, namespace);
      return send('POST', path, writeQuery(options), object, options).then(valueOf<T>);
    },
    update<T extends KubeObject>(kind: ResourceKind<T>, object: T, options: WriteOptions = {}) {
      const { namespace = '', name: objectName = '' } = object.metadata;
      const path = resourcePath(kind, { namespace, name: objectName }, options.subresource);
      return send('PUT', path, writeQuery(options), object, options).then(valueOf<T>);
    },
    patch<T extends KubeObject>(kind: ResourceKind<T>, key: ObjectKey, patch: object, options: PatchOptions) {
      const headers = { 'content-type': patchContentType(options.type) };
      return send('PATCH', resourcePath(kind, key, options.subresource), patchQuery(options), patch, options, headers).then(
        valueOf<T>,
      );
    },
    async delete(kind, key, options = {}) {
      await send('DELETE', resourcePath(kind, key), {}, deleteBody(options), options);
    },
    async deleteCollection(kind, list, options = {}) {
      await send('DELETE', collectionPath(kind, list.namespace), listQuery(list), deleteBody(options), options);
    },
    watch(kind, options) {
      const open = (): Promise<ApiResponse> =>
        send('GET', collectionPath(kind, options.namespace), watchQuery(options), undefined, options);
      return watchEvents(open, options.signal);
    },
    async raw(raw: RawRequest): Promise<RawResponse> {
      const { method, path, query = {}, body, headers = {} } = raw;
      const response = await handleRequest(
        server,
        request({ method, path, query, body, signal: raw.signal, user, name, headers }),
      );
      return { status: response.status, headers: response.headers, body: response.value ?? response.text };
    },
    async connect({ path, query = {}, protocols, signal }: ConnectRequest): Promise<MessageStream> {
      const opened = await openStream(
        server,
        request({ method: 'GET', path, query, body: undefined, signal, user, name, headers: {} }),
      );
      return connectInProcess(opened, protocols, signal);
    },
  };
}

interface RequestParts {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: unknown;
  readonly signal: AbortSignal | undefined;
  readonly user: UserInfo;
  readonly name: string;
  readonly headers: Readonly<Record<string, string>>;
}

function request({ method, path, query, body, signal = NEVER, user, name, headers }: RequestParts): ApiRequest {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value === undefined) continue;
    for (const one of typeof value === 'string' ? [value] : value) parameters.append(key, one);
  }
  return {
    method,
    path,
    query: parameters,
    headers: { 'user-agent': name, ...headers },
    body: body === undefined ? { type: 'none' } : { type: 'value', value: body },
    identity: { type: 'user', user },
    remoteAddress: 'in-process',
    signal,
  };
}

async function call(server: ServerContext, apiRequest: ApiRequest): Promise<ApiResponse> {
  apiRequest.signal.throwIfAborted();
  const response = await handleRequest(server, apiRequest);
  if (response.status >= 300) throw errorOf(response);
  return response;
}

function errorOf(response: ApiResponse): StatusError {
  const { value } = response;
  if (isObject(value) && value['kind'] === 'Status') return new StatusError(value as unknown as Status); // the pipeline made it
  const notFound = response.status === 404;
  return new StatusError({
    code: response.status,
    reason: notFound ? 'NotFound' : 'Unknown',
    message: notFound ? 'the server could not find the requested resource' : (response.text ?? '').trim(),
  });
}

/** Generic methods promise the type of the kind; the server stores nothing else under its path. */
function valueOf<T>(response: ApiResponse): T {
  return response.value as T;
}

async function* watchEvents<T extends KubeObject>(
  open: () => Promise<ApiResponse>,
  signal: AbortSignal | undefined,
): AsyncGenerator<WatchEvent<T>> {
  const { watch } = await open();
  if (watch === undefined) throw new Error('The answer to a watch is not a stream');
  yield* drain<T>(watch, signal);
}

async function* drain<T extends KubeObject>(watch: WatchSession, signal: AbortSignal | undefined): AsyncGenerator<WatchEvent<T>> {
  let queue: WatchEvent<T>[] = [];
  let hasEnded = false;
  let wake: () => void = () => undefined;
  const stop = watch.start(
    ({ type, object }) => {
      queue.push({ type, object } as WatchEvent<T>); // frames of this kind's watch
      wake();
    },
    () => {
      hasEnded = true;
      wake();
    },
  );
  const onAbort = (): void => wake();
  signal?.addEventListener('abort', onAbort);
  try {
    for (;;) {
      signal?.throwIfAborted();
      const batch = queue;
      queue = [];
      yield* batch;
      if (queue.length > 0) continue;
      if (hasEnded) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (queue.length > 0 || hasEnded || signal?.aborted) resolve();
      });
    }
  } finally {
    signal?.removeEventListener('abort', onAbort);
    stop();
  }
}
