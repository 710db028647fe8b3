import type { Readable } from 'node:stream';

/** A request of whoever came: it has passed neither authentication nor authorization. */
export interface OpenRequest {
  readonly method: string;
  /** Absolute, query not included. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** The body as it comes in. Nothing is read that the route does not ask for. */
  readonly incoming: Readable;
  readonly signal: AbortSignal;
}

export interface OpenResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** A stream that fails cuts the connection off. */
  readonly body?: string | Readable;
}

/** A path of the server below which a part of the platform answers by itself, and decides itself whom. */
export interface OpenRoute {
  /** What the path begins with. */
  readonly prefix: string;
  handle(request: OpenRequest): Promise<OpenResponse>;
}
