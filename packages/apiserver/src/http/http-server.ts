import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Http2ServerRequest, type Http2ServerResponse, createSecureServer } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { handleRequest } from '../pipeline/pipeline.ts';
import type { ApiRequest, ChannelIdentity } from '../pipeline/request.ts';
import type { ServerContext } from '../pipeline/server-context.ts';
import { readBody } from './read-body.ts';
import { handleUpgrade } from './upgrade.ts';
import { writeError, writeResponse } from './write-response.ts';

export interface ListenOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly tls: {
    readonly key: string;
    readonly cert: string;
    /** Authority whose client certificates are believed. */
    readonly clientCa: string;
  };
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
  const secureOptions = (current: ListenOptions['tls']) => ({ key: current.key, cert: current.cert, ca: current.clientCa });
  const http = createSecureServer(
    {
      ...secureOptions(tls),
      allowHTTP1: true,
      requestCert: true,
      rejectUnauthorized: false, // without a certificate a token may follow; a bad certificate gives no identity
      minVersion: 'TLSv1.2',
      settings: { maxConcurrentStreams: 1000 },
    },
    (request, response) => void serve(server, request, response),
  );
  http.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    void handleUpgrade(server, apiRequest(request, Buffer.alloc(0), abortOnClose(socket)), request, socket, head);
  });
  const sockets = new Set<Socket>();
  http.on('secureConnection', (socket: TLSSocket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy()); // a peer that resets is no news
    socket.setNoDelay(true);
  });
  http.setTimeout(0);
  await new Promise<void>((resolve, reject) => {
    http.once('error', reject);
    http.listen(port, host, () => resolve());
  });
  return {
    port: (http.address() as AddressInfo).port, // listening on TCP
    renew: (next) => http.setSecureContext(secureOptions(next)),
    close: () =>
      new Promise<void>((resolve) => {
        http.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function abortOnClose(stream: { once(event: 'close', listener: () => void): unknown }): AbortSignal {
  const controller = new AbortController();
  stream.once('close', () => controller.abort());
  return controller.signal;
}

async function serve(server: ServerContext, request: AnyRequest, response: AnyResponse): Promise<void> {
  const signal = abortOnClose(response);
  try {
    const body = await readBody(request);
    const apiCall = apiRequest(request, body, signal);
    await writeResponse(apiCall, await handleRequest(server, apiCall), response);
  } catch (error) {
    if (!signal.aborted) writeError(error, response);
  }
}

function apiRequest(request: AnyRequest, bytes: Buffer, signal: AbortSignal): ApiRequest {
  const target = request.url ?? '/';
  const mark = target.indexOf('?');
  return {
    method: request.method ?? 'GET',
    path: mark < 0 ? target : target.slice(0, mark),
    query: new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1)),
    headers: headersOf(request),
    body: bytes.length === 0 ? { type: 'none' } : { type: 'bytes', bytes },
    identity: identityOf(request.socket as TLSSocket), // this server speaks TLS only
    remoteAddress: request.socket.remoteAddress ?? '',
    signal,
  };
}

function headersOf(request: AnyRequest): Record<string, string | undefined> {
  const headers: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    headers[name] = Array.isArray(value) ? value.join(',') : value;
  }
  return headers;
}

/** The identity of a client certificate that our authority signed: common name and organizations. */
function identityOf(socket: TLSSocket): ChannelIdentity {
  if (!socket.authorized) return { type: 'none' };
  const { subject } = socket.getPeerCertificate();
  if (subject?.CN === undefined) return { type: 'none' };
  const organizations: unknown = subject.O;
  return {
    type: 'certificate',
    commonName: String(subject.CN),
    organizations: Array.isArray(organizations)
      ? organizations.map(String)
      : organizations === undefined
        ? []
        : [String(organizations)],
  };
}
