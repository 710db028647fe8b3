import type { Readable } from 'node:stream';

/** A request of whoever came: it has passed neither authentication nor authorization. */
export interface OpenRequest {
  readonly method: string;
  /** Absolute, query not included. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | undefined>>;
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
  /** With a slash at its end. */
  readonly prefix: string;
  handle(request: OpenRequest): Promise<OpenResponse>;
}
