import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Http2ServerRequest, type Http2ServerResponse, createSecureServer } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { OpenRequest, UserInfo } from '@slipway/runtime';
import type { FlowController } from '../flow-control/flow-controller.ts';
import type { Seat } from '../flow-control/priority-level.ts';
import { handleRequest } from '../pipeline/pipeline.ts';
import type { ApiRequest, ApiResponse, ChannelIdentity } from '../pipeline/request.ts';
import type { RequestInfo } from '../routing/request-info.ts';
import type { ServerContext } from '../pipeline/server-context.ts';
import { type ClientAuthorities, identityOfRequest, type Peer, peerOfSocket } from './peer-identity.ts';
import { serveOpenRoute } from './open-routes.ts';
import { readBody } from './read-body.ts';
import { handleUpgrade } from './upgrade.ts';
import { writeError, writeResponse } from './write-response.ts';
import { WatchQueue } from './write-watch.ts';

export interface ListenOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly tls: {
    readonly key: string;
    readonly cert: string;
  } & ClientAuthorities;
}

export interface Listener {
  readonly port: number;
  /** Exchanges the server certificate for new connections. */
  renew(tls: ListenOptions['tls']): void;
  /** Stops listening and ends every connection. */
  close(): Promise<void>;
}

type AnyRequest = IncomingMessage | Http2ServerRequest;
type AnyResponse = ServerResponse | Http2ServerResponse;

/** Serves HTTP/1.1 and HTTP/2 on one TLS port. Rejects when the port is taken. */
export async function listen(server: ServerContext, { host, port, tls }: ListenOptions): Promise<Listener> {
  let authorities: ClientAuthorities = tls;
  const secureOptions = (current: ListenOptions['tls']) => ({
    key: current.key,
    cert: current.cert,
    ca: [current.clientCa, ...(current.requestHeaderCa === undefined ? [] : [current.requestHeaderCa])],
  });
  const watches = new WatchQueue();
  const http = createSecureServer(
    {
      ...secureOptions(tls),
      allowHTTP1: true,
      requestCert: true,
      rejectUnauthorized: false, // without a certificate a token may follow; a bad certificate gives no identity
      minVersion: 'TLSv1.2',
      settings: { maxConcurrentStreams: 1000 },
    },
    (request, response) => void serve(server, watches, peerOf(request, authorities), request, response),
  );
  http.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const arrival = { source: request, hasBody: false, departure: new Departure(socket), peer: peerOf(request, authorities) };
    const apiRequest = new HttpApiRequest(server.flow, arrival);
    void handleUpgrade(server, apiRequest, request, socket, head);
  });
  const sockets = new Set<Socket>();
  http.on('secureConnection', (socket: TLSSocket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy()); // a peer that resets is no news
    socket.setNoDelay(true);
  });
  http.setTimeout(0);
  // an upload takes as long as it takes; bodies of the API have a limit of their own
  (http as { requestTimeout?: number }).requestTimeout = 0; // there since HTTP/1 is allowed
  await new Promise<void>((resolve, reject) => {
    http.once('error', reject);
    http.listen(port, host, () => resolve());
  });
  return {
    port: (http.address() as AddressInfo).port, // listening on TCP
    renew(next) {
      authorities = next;
      http.setSecureContext(secureOptions(next));
    },
    close: () =>
      new Promise<void>((resolve) => {
        http.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

interface Closeable {
  once(event: 'close', listener: () => void): unknown;
  readonly writableFinished?: boolean;
}

/** Made once: an error with a stack for each request would cost more than many a request. */
const CLIENT_GONE = Object.freeze(new Error('The client closed the connection'));

/** Tells when the client goes away. The signal is made when somebody asks for it: most requests never do. */
class Departure {
  isGone = false;
  private controller: AbortController | undefined;

  constructor(stream: Closeable) {
    stream.once('close', () => {
      this.isGone = true;
      if (stream.writableFinished !== true) this.controller?.abort(CLIENT_GONE);
    });
  }

  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController();
      if (this.isGone) this.controller.abort(CLIENT_GONE);
    }
    return this.controller.signal;
  }
}

async function serve(
  server: ServerContext,
  watches: WatchQueue,
  peer: Peer,
  request: AnyRequest,
  response: AnyResponse,
): Promise<void> {
  const departure = new Departure(response);
  const apiCall = new HttpApiRequest(server.flow, { source: request, hasBody: hasBody(request), departure, peer });
  try {
    const route = server.openRoutes.find(({ prefix }) => apiCall.path.startsWith(prefix));
    if (route !== undefined) return await serveOpenRoute(route, openRequest(apiCall, request), response);
    const answer = await handleRequest(server, apiCall);
    apiCall.leaveBefore(answer);
    await writeResponse(apiCall, answer, response, watches);
  } catch (error) {
    if (!departure.isGone) writeError(error, response);
  } finally {
    apiCall.leave();
  }
}

const openRequest = ({ method, path, query, headers, signal }: HttpApiRequest, incoming: AnyRequest): OpenRequest => ({
  ...{ method, path, query, headers, signal, incoming },
});

/** How long a long answer counts as work: who reads slowly keeps nobody waiting. */
const WRITE_SEAT_MS = 5_000;
const NO_BODY: ApiRequest['body'] = { type: 'none' };
const NO_QUERY = new URLSearchParams();

/** HTTP/2 needs no length for a body, so there only the method tells. */
function hasBody({ method, headers }: AnyRequest): boolean {
  if (headers['content-length'] !== undefined) return headers['content-length'] !== '0';
  return headers['transfer-encoding'] !== undefined || (method !== 'GET' && method !== 'HEAD');
}

interface HttpArrival {
  readonly source: AnyRequest;
  readonly hasBody: boolean;
  readonly departure: Departure;
  readonly peer: Peer;
}

/** What is costly and often not needed is worked out when it is asked for. */
class HttpApiRequest implements ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | undefined>>;
  body = NO_BODY;
  readonly identity: ChannelIdentity;
  readonly remoteAddress: string;
  private readonly flow: FlowController;
  private readonly arrival: HttpArrival;
  private seat: Seat | undefined;
  private closeWatch: (() => void) | undefined;
  private seatTimer: NodeJS.Timeout | undefined;

  constructor(flow: FlowController, arrival: HttpArrival) {
    const { source: request, peer } = arrival;
    const target = request.url ?? '/';
    const mark = target.indexOf('?');
    this.method = request.method ?? 'GET';
    this.path = mark < 0 ? target : target.slice(0, mark);
    this.query = mark < 0 ? NO_QUERY : new URLSearchParams(target.slice(mark + 1));
    this.headers = headersOf(request);
    this.identity = identityOfRequest(peer, request.rawHeaders);
    this.remoteAddress = peer.address;
    this.flow = flow;
    this.arrival = arrival;
  }

  get signal(): AbortSignal {
    return this.arrival.departure.signal;
  }

  admit(user: UserInfo, info: RequestInfo): Promise<void> | undefined {
    if (info.verb === 'watch') this.closeWatch = this.flow.openWatch(user, info);
    const seat = this.flow.enter({
      user,
      info,
      query: this.query,
      bodyBytes: this.arrival.hasBody ? Number(this.headers['content-length'] ?? UNKNOWN_BODY_BYTES) : 0,
      onGone: (leave) => this.signal.addEventListener('abort', leave, { once: true }),
    });
    if (seat instanceof Promise) return this.takeSeat(seat);
    this.seat = seat;
    return this.arrival.hasBody ? this.readBody() : undefined;
  }

  /** A watch, or bytes of others that are passed on, may go on for hours: its seat is for others. */
  leaveBefore({ watch, stream, parts }: ApiResponse): void {
    if (watch !== undefined || stream !== undefined) this.seat?.release();
    else if (parts !== undefined) this.seatTimer = setTimeout(() => this.seat?.release(), WRITE_SEAT_MS).unref();
  }

  leave(): void {
    clearTimeout(this.seatTimer);
    this.seat?.release();
    this.closeWatch?.();
    this.closeWatch = undefined;
  }

  private async takeSeat(seat: Promise<Seat>): Promise<void> {
    this.seat = await seat;
    if (this.arrival.hasBody) await this.readBody();
  }

  /** Only now: bytes of a request that waits, or of nobody, take no memory. */
  private async readBody(): Promise<void> {
    const bytes = await readBody(this.arrival.source);
    if (bytes.length > 0) this.body = { type: 'bytes', bytes };
  }
}

/** What a body without a length counts as. */
const UNKNOWN_BODY_BYTES = 512 * 1024;

function headersOf({ headers }: AnyRequest): Readonly<Record<string, string | undefined>> {
  for (const name in headers) {
    const value = headers[name];
    if (Array.isArray(value)) headers[name] = value.join(',');
  }
  return headers as Record<string, string | undefined>; // no list is left
}

/** Who is at the other end cannot change while a connection lasts (TLS renegotiation is refused). */
const peers = new WeakMap<object, Peer>();

function peerOf(request: AnyRequest, authorities: ClientAuthorities): Peer {
  // the socket of an HTTP/2 request is a wrapper that is made anew each time; its session is not
  const connection = ('stream' in request && request.stream.session) || request.socket;
  const known = peers.get(connection);
  if (known !== undefined) return known;
  const peer = peerOfSocket(request.socket as TLSSocket, authorities); // this server speaks TLS only
  peers.set(connection, peer);
  return peer;
}
