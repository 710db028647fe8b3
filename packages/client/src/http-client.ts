import type { KubeObject, ObjectList, ResourceKind } from '@slipway/apimachinery';
import type {
  CallOptions,
  Client,
  ConnectRequest,
  DeleteOptions,
  ListOptions,
  MessageStream,
  PatchOptions,
  RawRequest,
  RawResponse,
  WatchOptions,
  WriteOptions,
} from './client.ts';
import type { ClientConfig } from './client-config.ts';
import { type HttpRequest, type HttpResponse, HttpTransport } from './http-transport.ts';
import {
  collectionPath,
  deleteBody,
  listQuery,
  patchContentType,
  patchQuery,
  resourcePath,
  watchQuery,
  writeQuery,
} from './resource-path.ts';
import { readWatchEvents } from './watch-stream.ts';
import { openWebSocket } from './web-socket.ts';

/** A client over HTTPS. `close` ends its idle connections; open watches and streams end by their signals. */
export function createHttpClient(config: ClientConfig): Client & { close(): Promise<void> } {
  const transport = new HttpTransport(config);
  const json = async <T>(request: HttpRequest): Promise<T> => {
    const response = await transport.send(request);
    // the server's schema decides what is in an answer
    return (await response.body.json()) as T;
  };
  const managed = <O extends WriteOptions>(options: O): O =>
    config.fieldManager !== undefined && options.fieldManager === undefined
      ? { ...options, fieldManager: config.fieldManager }
      : options;
  const write = <T extends KubeObject>(method: string, path: string, body: unknown, options: WriteOptions = {}): Promise<T> =>
    json<T>({ method, path, query: writeQuery(managed(options)), body, signal: options.signal });
  const remove = async (path: string, query: HttpRequest['query'], options: DeleteOptions = {}): Promise<void> => {
    const body = deleteBody(options);
    const response = await transport.send({ method: 'DELETE', path, ...(query && { query }), body, signal: options.signal });
    await response.body.dump();
  };

  return {
    get: <T extends KubeObject>(kind: ResourceKind<T>, key: KeyOf, options: CallOptions & { subresource?: string } = {}) =>
      json<T>({ method: 'GET', path: resourcePath(kind, key, options.subresource), signal: options.signal }),
    list: <T extends KubeObject>(kind: ResourceKind<T>, options: ListOptions = {}) =>
      json<ObjectList<T>>({
        method: 'GET',
        path: collectionPath(kind, options.namespace),
        query: listQuery(options),
        signal: options.signal,
      }),
    create: <T extends KubeObject>(kind: ResourceKind<T>, object: T, options?: WriteOptions) =>
      write<T>('POST', createPath(kind, object, options), object, options),
    update: <T extends KubeObject>(kind: ResourceKind<T>, object: T, options?: WriteOptions) =>
      write<T>('PUT', resourcePath(kind, keyIn(object), options?.subresource), object, options),
    patch: <T extends KubeObject>(kind: ResourceKind<T>, key: KeyOf, patch: unknown, options: PatchOptions) =>
      json<T>({
        method: 'PATCH',
        path: resourcePath(kind, key, options.subresource),
        query: patchQuery(managed(options)),
        contentType: patchContentType(options.type),
        body: patch,
        signal: options.signal,
      }),
    delete: (kind, key, options) => remove(resourcePath(kind, key), undefined, options),
    deleteCollection: (kind, list, options) => remove(collectionPath(kind, list.namespace), listQuery(list), options),
    async *watch<T extends KubeObject>(kind: ResourceKind<T>, options: WatchOptions) {
      const path = collectionPath(kind, options.namespace);
      const response = await transport.send({ method: 'GET', path, query: watchQuery(options), signal: options.signal });
      yield* readWatchEvents<T>(response.body);
    },
    raw: (request) => raw(transport, request),
    connect: (request: ConnectRequest): Promise<MessageStream> => openWebSocket(config, transport, request),
    close: () => transport.close(),
  };
}

interface KeyOf {
  readonly namespace: string;
  readonly name: string;
}

const keyIn = ({ metadata }: KubeObject): KeyOf => ({ namespace: metadata.namespace ?? '', name: metadata.name ?? '' });

/** A create goes to the collection, except that of a subresource such as `binding`, which belongs to an object. */
function createPath(kind: ResourceKind<KubeObject>, object: KubeObject, options: WriteOptions | undefined): string {
  if (options?.subresource) return resourcePath(kind, keyIn(object), options.subresource);
  return collectionPath(kind, object.metadata.namespace);
}

async function raw(transport: HttpTransport, request: RawRequest): Promise<RawResponse> {
  const response = await transport.send({ accept: 'application/json, */*', ...request });
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(response.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return { status: response.statusCode, headers, body: await bodyOf(response, headers['content-type'] ?? '') };
}

async function bodyOf({ body }: HttpResponse, contentType: string): Promise<unknown> {
  if (contentType.startsWith('application/json')) {
    const text = await body.text();
    return text === '' ? undefined : (JSON.parse(text) as unknown);
  }
  if (contentType === '' || contentType.startsWith('text/')) return body.text();
  return new Uint8Array(await body.arrayBuffer());
}
