import type { UnstructuredObject } from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';
import type { RequestInfo } from '../routing/request-info.ts';

/** What the transport knows about the caller before bearer tokens and impersonation are looked at. */
export type ChannelIdentity =
  | { readonly type: 'user'; readonly user: UserInfo }
  | { readonly type: 'certificate'; readonly commonName: string; readonly organizations: readonly string[] }
  | { readonly type: 'none' };

/** A body as it came over the wire, or as the value an in-process caller gave (never changed by the server). */
export type RequestBody = { readonly type: 'none' } | BytesBody | { readonly type: 'value'; readonly value: unknown };

export interface BytesBody {
  readonly type: 'bytes';
  readonly bytes: Buffer;
  /** The bytes as text, once somebody has asked for it; see `bodyText`. */
  text?: string;
}

export const bodyText = (body: BytesBody): string => (body.text ??= body.bytes.toString('utf8'));

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
  /** Lets the request of a known user in and reads its body, now or later. Throws 429 and 413. Absent: it is let in. */
  admit?(user: UserInfo, info: RequestInfo): Promise<void> | undefined;
  /** The work that was admitted is done. */
  leave?(): void;
}

/** One event of a watch, as value and in the forms in which it is sent. */
export interface WatchFrame {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  /** Frozen. */
  readonly object: unknown;
  /** `{"type":…,"object":…}` and a line end. */
  readonly line: Buffer;
  /** The line as a chunk of an HTTP/1.1 body. */
  readonly chunk: Buffer;
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
  /** JSON value; may be frozen and shared. May be worked out on access, like the next two. */
  readonly value?: unknown;
  /** Complete text of the body, when it exists already. */
  readonly text?: string | undefined;
  /** The text in parts, where it is too long to be put together. */
  readonly parts?: TextParts | undefined;
  readonly bytes?: Uint8Array | undefined;
  readonly watch?: WatchSession | undefined;
  readonly stream?: BodyStream | undefined;
}

/** A long text as it is stored: in pieces, with its length in UTF-8. */
export interface TextParts {
  readonly byteLength: number;
  readonly pieces: Iterable<string>;
}

export function ok(value: unknown, status = 200): Pick<ApiResponse, 'status' | 'value'> {
  return { status, value };
}

export type ObjectAnswer = { readonly status: number; readonly object: UnstructuredObject };
