import type { UnstructuredObject } from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';

/** What the transport knows about the caller before bearer tokens and impersonation are looked at. */
export type ChannelIdentity =
  | { readonly type: 'user'; readonly user: UserInfo }
  | { readonly type: 'certificate'; readonly commonName: string; readonly organizations: readonly string[] }
  | { readonly type: 'none' };

/** A body as it came over the wire, or as the value an in-process caller gave (never changed by the server). */
export type RequestBody =
  | { readonly type: 'none' }
  | { readonly type: 'bytes'; readonly bytes: Buffer }
  | { readonly type: 'value'; readonly value: unknown };

/** One request, whatever transport brought it. Header names are lower case. */
export interface ApiRequest {
  readonly method: string;
  /** Decoded by segment later; without query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: RequestBody;
  readonly identity: ChannelIdentity;
  readonly remoteAddress: string;
  readonly signal: AbortSignal;
}

/** One event of a watch, ready as text and as value. */
export interface WatchFrame {
  /** `{"type":…,"object":…}` without line end. */
  readonly line: string;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  /** Frozen. */
  readonly object: unknown;
}

/** A running watch: `start` delivers frames until the returned function is called or `onEnd` fires. */
export interface WatchSession {
  start(onFrame: (frame: WatchFrame) => void, onEnd: () => void): () => void;
}

/** A byte stream as answer (logs). */
export type BodyStream = AsyncIterable<Uint8Array | string>;

export interface ApiResponse {
  readonly status: number;
  readonly headers: Record<string, string>;
  /** Texts of `Warning` headers. */
  readonly warnings: readonly string[];
  /** JSON value; may be frozen and shared. */
  readonly value?: unknown;
  /** Complete text of the body, when it exists already. */
  readonly text?: string;
  readonly bytes?: Uint8Array;
  readonly watch?: WatchSession;
  readonly stream?: BodyStream;
}

export function ok(value: unknown, status = 200): Pick<ApiResponse, 'status' | 'value'> {
  return { status, value };
}

export type ObjectAnswer = { readonly status: number; readonly object: UnstructuredObject };
