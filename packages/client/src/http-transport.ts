import { createHash } from 'node:crypto';
import { StatusError } from '@slipway/apimachinery';
import { Agent, type Dispatcher, errors } from 'undici';
import { type ClientConfig, type Credentials, credentialHeaders } from './client-config.ts';
import type { Query } from './resource-path.ts';

export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | readonly string[] | undefined>> | Query;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  readonly signal?: AbortSignal | undefined;
}

export type HttpResponse = Dispatcher.ResponseData;

const MAX_ATTEMPTS = 10;
const HEADERS_TIMEOUT_MS = 60_000;

/** Path and query of a request, beneath the path of the server's URL. */
export function targetOf(config: ClientConfig, path: string, query: HttpRequest['query'] = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined) continue;
    for (const item of typeof value === 'string' ? [value] : value) parameters.append(name, item);
  }
  const prefix = new URL(config.server).pathname.replace(/\/$/, '');
  const text = parameters.toString();
  return `${prefix}${path}${text === '' ? '' : `?${text}`}`;
}

/** Sends requests to one API server, waits as long as it asks for, and turns refusals into `StatusError`. */
export class HttpTransport {
  private readonly config: ClientConfig;
  private agent: { readonly identity: string; readonly dispatcher: Agent } | undefined;

  constructor(config: ClientConfig) {
    this.config = config;
  }

  /** The answer's body is not read yet: every caller must consume or destroy it. */
  async send(request: HttpRequest): Promise<HttpResponse> {
    for (let attempt = 1; ; attempt++) {
      const response = await this.attempt(request, attempt);
      if (response === undefined) continue;
      if (response.statusCode < 400) return response;
      const waitMs = retryAfterMs(response);
      if (waitMs === undefined || attempt >= MAX_ATTEMPTS) throw await statusErrorOf(response.statusCode, response.body);
      await response.body.dump();
      await pause(waitMs, request.signal);
    }
  }

  async close(): Promise<void> {
    await this.agent?.dispatcher.destroy();
  }

  /** TLS options and headers of a connection that is made outside this transport. */
  async connection(): Promise<{ tls: Record<string, unknown>; headers: Record<string, string | string[]> }> {
    const credentials = await this.credentials();
    return { tls: tlsOptions(this.config, credentials), headers: this.headers(credentials) };
  }

  /** Undefined when the connection was lost before anything came back and the request may be repeated. */
  private async attempt(request: HttpRequest, attempt: number): Promise<HttpResponse | undefined> {
    const credentials = await this.credentials();
    try {
      return await this.dispatcher(credentials).request({
        origin: new URL(this.config.server).origin,
        // the grammar allows any token; undici's type lists the usual ones
        method: request.method as Dispatcher.HttpMethod,
        path: targetOf(this.config, request.path, request.query),
        headers: {
          ...this.headers(credentials),
          accept: request.accept ?? 'application/json',
          ...(request.body !== undefined && { 'content-type': request.contentType ?? 'application/json' }),
          ...request.headers,
        },
        body: request.body === undefined ? null : JSON.stringify(request.body),
        signal: request.signal ?? null,
        bodyTimeout: 0,
        headersTimeout: HEADERS_TIMEOUT_MS,
      });
    } catch (error) {
      request.signal?.throwIfAborted();
      const wasCut =
        error instanceof errors.SocketError || (error instanceof Error && 'code' in error && error.code === 'ECONNRESET');
      if (request.method === 'GET' && wasCut && attempt < 3) return undefined;
      throw new Error(`Cannot reach the API server at ${this.config.server}`, { cause: error });
    }
  }

  private async credentials(): Promise<Credentials> {
    return (await this.config.credentials?.()) ?? {};
  }

  private headers(credentials: Credentials): Record<string, string | string[]> {
    return { 'user-agent': this.config.userAgent ?? 'slipway', ...credentialHeaders(credentials) };
  }

  /** Connections belong to a certificate: a rotated one starts new connections and lets the old ones end. */
  private dispatcher(credentials: Credentials): Agent {
    const identity = createHash('sha256')
      .update(`${credentials.cert ?? ''}\0${credentials.key ?? ''}`)
      .digest('hex');
    if (this.agent?.identity !== identity) {
      void this.agent?.dispatcher.close().catch(() => {});
      const connect = tlsOptions(this.config, credentials);
      this.agent = { identity, dispatcher: new Agent({ connect, keepAliveTimeout: 30_000 }) };
    }
    return this.agent.dispatcher;
  }
}

function tlsOptions(config: ClientConfig, credentials: Credentials): Record<string, unknown> {
  return {
    ...(config.ca && { ca: config.ca }),
    ...(config.tlsServerName && { servername: config.tlsServerName }),
    ...(config.insecureSkipTlsVerify && { rejectUnauthorized: false }),
    ...(credentials.cert && { cert: credentials.cert, key: credentials.key }),
  };
}

/** How long the server asks to wait; undefined when a retry would not help. */
function retryAfterMs({ statusCode, headers }: HttpResponse): number | undefined {
  const value = headers['retry-after'];
  if (statusCode !== 429 && (statusCode < 500 || value === undefined)) return undefined;
  const seconds = Number(value ?? 1);
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds, 60) * 1000 : 1000;
}

function pause(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** The Status that a refusal carries, or one made up from its text when a proxy answered instead of the API server. */
export async function statusErrorOf(code: number, body: { text(): Promise<string> }): Promise<StatusError> {
  const text = await body.text().catch(() => '');
  try {
    const status: unknown = JSON.parse(text);
    if (isStatus(status)) return new StatusError({ ...status, code: status.code ?? code });
  } catch {
    // not JSON: fall through to the text
  }
  return new StatusError({ code, reason: 'Unknown', message: text.trim().slice(0, 1024) || `The server answered ${code}` });
}

function isStatus(value: unknown): value is StatusError['status'] {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'Status';
}
