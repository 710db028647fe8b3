/** A stored value at one revision. Immutable. */
export interface Entry {
  readonly key: string;
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
  /** What the writer attached to the value (a parsed form); never stored, absent after a restart. */
  readonly attachment?: unknown;
}

/** One change: `entry` absent on deletion, `previous` absent on creation. Revisions are unique and rise by one. */
export interface StoreEvent {
  readonly revision: number;
  readonly timeMs: number;
  readonly key: string;
  readonly entry?: Entry;
  readonly previous?: Entry;
}

/** Holds when the key's newest revision is `modRevision`; 0: the key does not exist. */
export interface Compare {
  readonly key: string;
  readonly modRevision: number;
}

export interface PutValue {
  readonly value: string;
  /** Kept with the entry in memory, see Entry. */
  readonly attachment?: unknown;
}

/** The value may depend on the revision it is going to have (an object carries its own resourceVersion). */
export type Operation =
  | { readonly type: 'put'; readonly key: string; readonly value: string | ((revision: number) => PutValue) }
  | { readonly type: 'delete'; readonly key: string };

export type TransactionResult =
  | { readonly ok: true; readonly entries: readonly (Entry | undefined)[]; readonly revision: number }
  | { readonly ok: false; readonly failed: Compare; readonly current: Entry | undefined };

export interface Range {
  readonly entries: readonly Entry[];
  /** Of the whole store at the time of reading. */
  readonly revision: number;
}

/** The history before this revision is gone; the caller must read everything anew. */
export class CompactedError extends Error {
  readonly oldestRevision: number;
  constructor(requested: number, oldestRevision: number) {
    super(`Revision ${requested} is older than the history, which begins at ${oldestRevision}`);
    this.name = 'CompactedError';
    this.oldestRevision = oldestRevision;
  }
}

/** A write could not be made durable and did not happen; `code` is the system's (`ENOSPC`). */
export class StoreWriteError extends Error {
  readonly code: string;
  constructor(cause: unknown) {
    const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? 'EIO'; // errors of the file system carry a code
    super(code === 'ENOSPC' ? 'The disk of the store is full' : `The store cannot write (${code})`, { cause });
    this.name = 'StoreWriteError';
    this.code = code;
  }
}

/** The files are damaged in a way no crash explains. */
export class StoreCorruptError extends Error {
  constructor(file: string, detail: string, cause?: unknown) {
    super(
      `Store file ${file} is corrupt: ${detail}. See all of it with \`slipway store check\`, then \`slipway store restore <backup>\`; nothing was changed`,
      cause === undefined ? undefined : { cause },
    );
    this.name = 'StoreCorruptError';
  }
}
