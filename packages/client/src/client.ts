import type { KubeObject, ObjectKey, ObjectList, ResourceKind, WatchEvent } from '@slipway/apimachinery';

export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface WriteOptions extends CallOptions {
  readonly dryRun?: boolean;
  /** Recorded in managedFields; defaults to the client's own name. */
  readonly fieldManager?: string;
  readonly fieldValidation?: 'Ignore' | 'Warn' | 'Strict';
  /** For example `status`, `scale`, `binding`. */
  readonly subresource?: string;
}

export interface ListOptions extends CallOptions {
  /** Absent or empty: all namespaces. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly limit?: number;
  readonly continue?: string;
  readonly resourceVersion?: string;
  readonly resourceVersionMatch?: 'Exact' | 'NotOlderThan';
}

export interface WatchOptions extends ListOptions {
  readonly allowWatchBookmarks?: boolean;
  readonly timeoutSeconds?: number;
}

export interface JsonPatchOperation {
  readonly op: 'add' | 'remove' | 'replace' | 'move' | 'copy' | 'test';
  readonly path: string;
  readonly from?: string;
  readonly value?: unknown;
}

export interface PatchOptions extends WriteOptions {
  /** `apply` is server-side apply: the patch is the applied configuration and `fieldManager` is required. */
  readonly type: 'json' | 'merge' | 'strategic' | 'apply';
  /** Server-side apply only: take over conflicting fields. */
  readonly force?: boolean;
}

export interface DeleteOptions extends CallOptions {
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
  readonly gracePeriodSeconds?: number;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly dryRun?: boolean;
}

/**
 * The one way any component talks to a cluster. Every method throws `StatusError` for a refusal of the server and
 * rejects with the signal's reason when aborted.
 */
export interface Client {
  get<T extends KubeObject>(kind: ResourceKind<T>, key: ObjectKey, options?: CallOptions & { subresource?: string }): Promise<T>;
  list<T extends KubeObject>(kind: ResourceKind<T>, options?: ListOptions): Promise<ObjectList<T>>;
  create<T extends KubeObject>(kind: ResourceKind<T>, object: T, options?: WriteOptions): Promise<T>;
  update<T extends KubeObject>(kind: ResourceKind<T>, object: T, options?: WriteOptions): Promise<T>;
  patch<T extends KubeObject>(
    kind: ResourceKind<T>,
    key: ObjectKey,
    patch: readonly JsonPatchOperation[] | object,
    options: PatchOptions,
  ): Promise<T>;
  delete<T extends KubeObject>(kind: ResourceKind<T>, key: ObjectKey, options?: DeleteOptions): Promise<void>;
  deleteCollection<T extends KubeObject>(kind: ResourceKind<T>, list: ListOptions, options?: DeleteOptions): Promise<void>;
  /** Ends without error when the server closes the stream; a 410 arrives as an ERROR event. */
  watch<T extends KubeObject>(kind: ResourceKind<T>, options: WatchOptions): AsyncIterable<WatchEvent<T>>;
  /** Any other request; `body` and the answer are JSON values (text answers come as strings). */
  raw(request: RawRequest): Promise<RawResponse>;
  /** Opens a WebSocket on the API server (console, vnc, portforward, exec). */
  connect(request: ConnectRequest): Promise<MessageStream>;
}

export interface RawRequest extends CallOptions {
  readonly method: string;
  /** Absolute path, query not included. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export interface RawResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

export interface ConnectRequest extends CallOptions {
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  /** Offered WebSocket sub-protocols, most preferred first. */
  readonly protocols: readonly string[];
}

/** A bidirectional stream of binary messages with back-pressure: `send` resolves when more may be sent. */
export interface MessageStream {
  /** Sub-protocol the server chose; empty when none. */
  readonly protocol: string;
  send(data: Uint8Array): Promise<void>;
  /** Ends when the peer closes; rejects on a transport error. */
  readonly messages: AsyncIterable<Uint8Array>;
  /** Resolves when the peer is gone, also while its messages wait unread; absent where nobody can tell. */
  readonly closed?: Promise<void>;
  close(code?: number, reason?: string): void;
}
