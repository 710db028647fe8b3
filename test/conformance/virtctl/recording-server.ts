import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { gzipSync } from 'node:zlib';
import { isObject } from '@slipway/apimachinery';
import { createAuthority, issueCertificate } from '@slipway/apiserver';
import { WebSocketServer } from 'ws';

/** One request of a recorded command, and what it was answered. */
export interface RecordedRequest {
  readonly method: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly upgrade?: boolean;
  /** Of a WebSocket: the kind of the first frame that the client sent (2: data, 8: close). */
  readonly firstClientFrame?: { readonly opcode: number };
  readonly response: { readonly code: number };
}

/** One request as it came. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  /** JSON value, or `<N bytes>`. */
  readonly body: unknown;
  readonly firstClientFrame?: { readonly opcode: number };
}

/** Objects that the server holds, by path. */
export type HeldObjects = Readonly<Record<string, unknown>>;

/** What the controllers would have made of an object by the time the client looks again. */
const SETTLED: Readonly<Record<string, () => object>> = {
  DataVolume: () => ({ status: { phase: 'UploadReady' } }),
  Pod: () => ({ status: { phase: 'Running' } }),
  VirtualMachineExport: () => ({
    status: {
      phase: 'Ready',
      links: {
        external: {
          cert: '',
          volumes: [{ name: 'disk', formats: [{ format: 'gzip', url: 'https://<server>/volumes/testpvc/disk.img.gz' }] }],
        },
      },
    },
  }),
};
const DATA_FRAME = 2;
const CLOSE_FRAME = 8;
/** What a stream says before it ends. */
const GREETING = 'hello\r\n';
const UPLOADED = { 'cdi.kubevirt.io/storage.pod.phase': 'Succeeded' };

export interface RecordingServer {
  readonly url: string;
  /** Begins a new command. */
  play(requests: readonly RecordedRequest[], objects: HeldObjects): void;
  readonly seen: readonly SeenRequest[];
  /** Resolves when a client has sent the first frame of a stream. */
  frame(): Promise<void>;
  close(): Promise<void>;
}

const NOT_FOUND = { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'NotFound', code: 404, message: 'not found' };

/** An HTTPS server that knows no semantics: it answers as recorded, and writes down what it was asked. */
export async function startRecordingServer(modern: (path: string) => string): Promise<RecordingServer> {
  const [notBefore, notAfter] = [new Date(Date.now() - 60_000), new Date(Date.now() + 3_600_000)];
  const authority = await createAuthority({ commonName: 'recording', notBefore, notAfter });
  const tls = await issueCertificate(authority, {
    commonName: 'server',
    usages: ['server'],
    ipAddresses: ['127.0.0.1'],
    notBefore,
    notAfter,
  });
  const state = {
    left: [] as RecordedRequest[],
    objects: {} as Record<string, unknown>,
    seen: [] as SeenRequest[],
    onFrame: (): void => {},
  };
  const codeOf = (method: string, path: string): number => {
    const index = state.left.findIndex((request) => request.method === method && modern(request.path) === path);
    const [request] = index < 0 ? [] : state.left.splice(index, 1);
    return request?.response.code ?? (method === 'GET' && state.objects[path] === undefined ? 404 : 200);
  };
  const server = createServer({ cert: tls.cert, key: tls.key }, (request, response) => {
    respond(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(request);
    const { method = '', path, query } = parse(request);
    state.seen.push({ method, path, query, body });
    const code = codeOf(method, path);
    const answer = code >= 400 ? { ...NOT_FOUND, code } : answerTo(method, path, body, state.objects, url());
    if (code < 300 && method === 'POST') remember(path, body, state.objects);
    const content = path.endsWith('.gz') ? gzipSync('a disk') : JSON.stringify(answer);
    response.writeHead(code, { 'content-type': 'application/json' });
    response.end(method === 'HEAD' ? undefined : content);
  }
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (protocols) => [...protocols][0] ?? false });
  server.on('upgrade', (request, socket, head) => {
    const { path, query } = parse(request);
    const seen = { method: 'GET', path, query, body: undefined };
    const index = state.seen.push(seen) - 1;
    const expected = state.left.find((recorded) => recorded.upgrade === true && recorded.path === path)?.firstClientFrame;
    sockets.handleUpgrade(request, socket, head, (stream) => {
      const saw = (opcode: number): void => {
        if (state.seen[index] === seen) state.seen[index] = { ...seen, firstClientFrame: { opcode } };
        state.onFrame();
      };
      stream.once('message', () => {
        saw(DATA_FRAME);
        stream.close(1000);
      });
      stream.once('close', () => saw(CLOSE_FRAME));
      if (expected?.opcode === DATA_FRAME) return; // the client speaks first
      if (expected !== undefined) stream.send(Buffer.from(GREETING));
      stream.close(1000);
    });
  });
  const url = await listen(server);
  return {
    url: url(),
    get seen() {
      return state.seen;
    },
    play(requests, objects) {
      Object.assign(state, { left: [...requests], objects: { ...objects }, seen: [], onFrame: () => {} });
    },
    frame: () =>
      new Promise((resolve) => {
        state.onFrame = resolve;
      }),
    async close() {
      sockets.close();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function listen(server: Server): Promise<() => string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = isObject(address) ? Number(address['port']) : 0;
  return () => `https://127.0.0.1:${port}`;
}

/** Creations can be read; an uploaded image is processed at once. */
function remember(path: string, body: unknown, objects: Record<string, unknown>): void {
  if (path.includes('/upload')) {
    for (const [held, object] of Object.entries(objects))
      if (held.includes('/persistentvolumeclaims/') && isObject(object)) objects[held] = { metadata: { annotations: UPLOADED } };
    return;
  }
  if (!isObject(body) || !isObject(body['metadata'])) return;
  const name = String(body['metadata']['name']);
  objects[`${path}/${name}`] = { ...body, ...SETTLED[String(body['kind'])]?.() };
  if (body['kind'] === 'DataVolume')
    objects[path.replace(/\/apis\/[^/]+\/[^/]+/, '/api/v1').replace('datavolumes', `persistentvolumeclaims/${name}`)] = body;
}

function parse(request: IncomingMessage): { method: string | undefined; path: string; query: Record<string, string> } {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'https://server');
  return { method: request.method, path: pathname, query: Object.fromEntries(searchParams) };
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const pieces: Uint8Array[] = [];
  for await (const piece of request as AsyncIterable<Uint8Array>) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  if (bytes.length === 0) return undefined;
  const isJson = request.headers['content-type']?.includes('json') === true;
  return isJson ? JSON.parse(bytes.toString()) : `<${bytes.length} bytes>`;
}

/** Objects for GET; creations come back with a uid; the rest needs no content. */
function answerTo(method: string, path: string, body: unknown, objects: HeldObjects, url: string): unknown {
  if (path.endsWith('/uploadtokenrequests')) return { ...(body as object), status: { token: 'upload-token' } };
  if (method === 'POST' && isObject(body)) return { ...body, metadata: { ...(body['metadata'] as object), uid: UID } };
  const held = objects[path];
  if (held === undefined) return ANSWERS[path.slice(path.lastIndexOf('/') + 1)] ?? (/\/[a-z]+$/.test(path) ? { items: [] } : {});
  // the recorded upload proxy was the recording server itself
  const text = JSON.stringify(held).replace(/"uploadProxyURL":"[^"]*"/, `"uploadProxyURL":"${url}"`);
  return JSON.parse(text.replaceAll('https://<server>', url));
}

/** Answers that are no objects. */
const ANSWERS: Readonly<Record<string, unknown>> = {
  guestfs: { registry: 'example.org/kubevirt', tag: 'v1.1.0', digest: '', imagePrefix: '', gsImage: '' },
};

/** What every object gets that is made while a command runs. */
export const UID = '44444444-4444-4444-8444-444444444444';
