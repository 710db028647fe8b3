import { encodeFrame } from './frame.ts';
import { History, type HistoryLimits } from './history.ts';
import { loadStore } from './load.ts';
import { type LogRecord, encodeRecords } from './record.ts';
import { fileName, logHeader, storeFiles, writeSnapshot } from './segments.ts';
import type { StoreFile, StoreFs } from './store-fs.ts';
import {
  type Compare,
  CompactedError,
  type Entry,
  type Operation,
  type Range,
  type StoreEvent,
  StoreWriteError,
  type TransactionResult,
} from './types.ts';

export interface StoreOptions {
  readonly fs: StoreFs;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly history?: Partial<HistoryLimits>;
  /** Size at which a log file is closed and a snapshot taken. */
  readonly segmentBytes?: number;
}

export interface StoreCounters {
  /** Transactions that became durable. */
  readonly writes: number;
  readonly syncs: number;
  readonly failedWrites: number;
  readonly bytesWritten: number;
}

interface Queued {
  readonly events: readonly StoreEvent[];
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const DEFAULT_HISTORY: HistoryLimits = { maxEvents: 100_000, maxAgeMs: 3_600_000 };
const DEFAULT_SEGMENT_BYTES = 32 << 20;

/** Opens (or creates) the store. Throws StoreCorruptError when the files are damaged. */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { fs } = options;
  for (const name of await fs.list()) if (name.endsWith('.slipway.tmp')) await fs.remove(name);
  const loaded = await loadStore(fs);
  const history = new History(loaded.events, loaded.compactedRevision, { ...DEFAULT_HISTORY, ...options.history });
  history.trim(options.now());
  const name = loaded.openLog?.file.name ?? fileName('log', loaded.revision + 1);
  const file = await fs.open(name);
  let position = loaded.openLog?.validBytes ?? 0;
  await file.truncate(position); // removes a torn last write
  if (position === 0) {
    const header = logHeader(loaded.openLog?.file.revision ?? loaded.revision + 1);
    await file.write(header, 0);
    position = header.length;
  }
  await file.sync();
  await fs.syncDirectory();
  return new Store(options, { entries: loaded.entries, history, revision: loaded.revision, file, position });
}

/**
 * Keys and values with one revision that rises by one with every change. A write is visible to `get`, `range` and
 * subscribers, and its promise resolves, only when it is on stable storage; concurrent writes share one sync.
 */
export class Store {
  private readonly options: StoreOptions;
  private readonly entries: Map<string, Entry>;
  private readonly history: History;
  private readonly subscribers = new Set<(events: readonly StoreEvent[]) => void>();
  /** Newest change of each key that is on its way to the disk; without entry it is a deletion. */
  private readonly staged = new Map<string, StoreEvent>();
  private stagedRevision: number;
  private durableRevision: number;
  private queue: Queued[] = [];
  private flushing: Promise<void> | undefined;
  private file: StoreFile;
  private position: number;
  private needsRepair = false;
  private snapshotting: Promise<void> | undefined;
  private closed = false;
  private readonly counts = { writes: 0, syncs: 0, failedWrites: 0, bytesWritten: 0 };

  constructor(
    options: StoreOptions,
    state: { entries: Map<string, Entry>; history: History; revision: number; file: StoreFile; position: number },
  ) {
    this.options = options;
    this.entries = state.entries;
    this.history = state.history;
    this.durableRevision = state.revision;
    this.stagedRevision = state.revision;
    this.file = state.file;
    this.position = state.position;
  }

  /** Of the newest durable change. */
  get revision(): number {
    return this.durableRevision;
  }

  /** Changes up to this revision can no longer be watched. */
  get compactedRevision(): number {
    return this.history.compactedRevision;
  }

  get size(): number {
    return this.entries.size;
  }

  /** Sums since the store was opened. */
  get counters(): StoreCounters {
    return this.counts;
  }

  get(key: string): Entry | undefined {
    return this.entries.get(key);
  }

  /** The value a transaction started now would see: it may not be durable yet, so never show it to a client. */
  latest(key: string): Entry | undefined {
    const staged = this.staged.get(key);
    return staged === undefined ? this.entries.get(key) : staged.entry;
  }

  /** All entries whose key begins with `prefix`, in order of key. */
  range(prefix: string): Range {
    const entries: Entry[] = [];
    for (const entry of this.entries.values()) if (entry.key.startsWith(prefix)) entries.push(entry);
    entries.sort((a, b) => (a.key < b.key ? -1 : 1));
    return { entries, revision: this.durableRevision };
  }

  /** Changes after `revision`. Throws CompactedError. */
  eventsAfter(revision: number): readonly StoreEvent[] {
    if (revision < this.history.compactedRevision) throw new CompactedError(revision, this.history.compactedRevision + 1);
    return this.history.after(revision);
  }

  /** Calls back with every durable change from now on, in order; the callback must not throw. Returns the way out. */
  subscribe(listener: (events: readonly StoreEvent[]) => void): () => void {
    this.subscribers.add(listener);
    return () => this.subscribers.delete(listener);
  }

  /**
   * Applies all operations if every comparison holds, else nothing. Resolves when the outcome is durable. A key may
   * appear in one operation only; deleting what is not there is skipped. Rejects with StoreWriteError.
   */
  async transact(compares: readonly Compare[], operations: readonly Operation[]): Promise<TransactionResult> {
    if (this.closed) throw new StoreWriteError(Object.assign(new Error('Store is closed'), { code: 'ECLOSED' }));
    const failed = this.firstFailed(compares);
    if (failed !== undefined) {
      // the answer may rest on a change that is not durable yet: wait, so that a read afterwards agrees with it
      const { failedWrites } = this.counts;
      if (this.staged.has(failed.key)) await this.flushing?.catch(() => undefined);
      // and if that change could not be written, it stands in nobody's way
      const isMoot = this.counts.failedWrites > failedWrites && this.firstFailed(compares) === undefined;
      if (isMoot) return this.transact(compares, operations);
      return { ok: false, failed, current: this.latest(failed.key) };
    }
    const events = operations.flatMap((operation) => this.stage(operation));
    const entries = operations.map(({ key }) => this.staged.get(key)?.entry);
    const revision = this.stagedRevision;
    if (events.length > 0) {
      await this.enqueue(events);
      return { ok: true, entries, revision };
    }
    // nothing to delete, but perhaps only because of a deletion that is not durable yet
    if (operations.some(({ key }) => this.staged.has(key))) await this.flushing?.catch(() => undefined);
    return { ok: true, entries, revision: this.durableRevision };
  }

  /** Consistent copy of the current state into another, empty store directory, while writes go on. */
  async backup(target: StoreFs): Promise<number> {
    const revision = this.durableRevision;
    await writeSnapshot(target, revision, [...this.entries.values()], this.options.now());
    return revision;
  }

  /** Starts a new log and replaces what is older than the history by a snapshot. Safe at any time. */
  async compact(): Promise<void> {
    while (this.flushing !== undefined) await this.flushing;
    const rotation = this.rotate();
    this.flushing = rotation
      .catch(() => undefined) // writers that wait for it are not concerned
      .finally(() => {
        this.flushing = undefined;
        if (this.queue.length > 0) this.startFlush();
      });
    await rotation;
    await this.snapshotting;
  }

  /** Waits for writes under way, then closes the files. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    while (this.flushing !== undefined) await this.flushing;
    await this.snapshotting;
    await this.file.close();
  }

  private firstFailed(compares: readonly Compare[]): Compare | undefined {
    return compares.find(({ key, modRevision }) => (this.latest(key)?.modRevision ?? 0) !== modRevision);
  }

  private stage(operation: Operation): StoreEvent[] {
    const { key } = operation;
    const previous = this.latest(key);
    if (operation.type === 'delete' && previous === undefined) return [];
    const revision = ++this.stagedRevision;
    const entry = operation.type === 'put' ? entryOf(operation, revision, previous) : undefined;
    const event = { revision, timeMs: this.options.now(), key, ...(entry && { entry }), ...(previous && { previous }) };
    this.staged.set(key, event);
    return [event];
  }

  private enqueue(events: readonly StoreEvent[]): Promise<void> {
    const durable = new Promise<void>((resolve, reject) => this.queue.push({ events, resolve, reject }));
    if (this.flushing === undefined) this.startFlush();
    return durable;
  }

  private startFlush(): void {
    this.flushing = this.flush().finally(() => {
      this.flushing = undefined;
      // a write that came after the last look at the queue saw a flush under way and relied on it
      if (this.queue.length > 0) this.startFlush();
    });
  }

  private async flush(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve)); // writers of this turn share the sync
    while (this.queue.length > 0) {
      const batch = this.queue;
      this.queue = [];
      try {
        await this.writeBatch(batch);
      } catch (error) {
        // what arrived of it goes at once, or a restart would bring back what was reported as failed
        await this.repair().catch(() => undefined);
        this.fail([...batch, ...this.queue], new StoreWriteError(error));
        continue;
      }
      this.commit(batch);
      if (this.position > (this.options.segmentBytes ?? DEFAULT_SEGMENT_BYTES) && this.snapshotting === undefined) {
        await this.rotate().catch(() => undefined); // the old log still works; the next batch tries again
      }
    }
  }

  private async writeBatch(batch: readonly Queued[]): Promise<void> {
    await this.repair();
    const frame = encodeFrame(encodeRecords(batch.flatMap(({ events }) => events.map(recordOf))));
    this.needsRepair = true; // until proven otherwise the end of the file is not to be trusted
    await this.file.write(frame, this.position);
    await this.file.sync();
    this.needsRepair = false;
    this.position += frame.length;
    this.counts.syncs++;
    this.counts.writes += batch.length;
    this.counts.bytesWritten += frame.length;
  }

  /** Cuts off what a failed write left behind the last durable byte. */
  private async repair(): Promise<void> {
    if (!this.needsRepair) return;
    await this.file.truncate(this.position);
    await this.file.sync();
    this.needsRepair = false;
  }

  private commit(batch: readonly Queued[]): void {
    const events = batch.flatMap((queued) => queued.events);
    for (const event of events) {
      if (event.entry === undefined) this.entries.delete(event.key);
      else this.entries.set(event.key, event.entry);
      if (this.staged.get(event.key) === event) this.staged.delete(event.key);
      this.history.append(event);
      this.durableRevision = event.revision;
    }
    for (const listener of this.subscribers) listener(events);
    for (const { resolve } of batch) resolve();
  }

  /** Nothing after the durable state happened: later changes were built on it, so all of them fail. */
  private fail(batch: readonly Queued[], error: StoreWriteError): void {
    this.queue = [];
    this.staged.clear();
    this.stagedRevision = this.durableRevision;
    this.counts.failedWrites += batch.length;
    for (const { reject } of batch) reject(error);
  }

  private async rotate(): Promise<void> {
    const { fs } = this.options;
    await this.repair(); // a log that another one follows must be whole
    const revision = this.durableRevision;
    const name = fileName('log', revision + 1);
    const header = logHeader(revision + 1);
    if (storeFiles(await fs.list()).some((file) => file.name === name)) return; // nothing written since the last one
    const file = await fs.open(name);
    try {
      await file.truncate(0);
      await file.write(header, 0);
      await file.sync();
      await fs.syncDirectory();
    } catch (error) {
      await file.close().catch(() => undefined);
      // if it stays, or comes back after a power failure, it is an empty log that loading passes over
      await fs.remove(name).catch(() => undefined);
      await fs.syncDirectory().catch(() => undefined);
      throw error;
    }
    const finished = this.file;
    this.file = file;
    this.position = header.length;
    await finished.close().catch(() => undefined); // every byte of it is durable
    this.snapshotting = this.snapshot(revision, [...this.entries.values()])
      .catch(() => undefined) // the logs still hold everything; the next rotation tries again
      .finally(() => (this.snapshotting = undefined));
  }

  private async snapshot(revision: number, entries: readonly Entry[]): Promise<void> {
    await this.removeSuperseded(); // first: the room may be needed for the snapshot
    await writeSnapshot(this.options.fs, revision, entries, this.options.now());
    await this.removeSuperseded();
  }

  /** Removes the files that the oldest watchable change no longer needs. */
  private async removeSuperseded(): Promise<void> {
    const { fs } = this.options;
    this.history.trim(this.options.now());
    const files = storeFiles(await fs.list());
    const base = files.findLast(({ content, revision: at }) => content === 'snapshot' && at <= this.history.compactedRevision);
    if (base === undefined) return;
    // snapshots first: without its logs an old snapshot would look like a gap
    const old = files.filter((file) => isSuperseded(file, base.revision));
    if (old.length === 0) return;
    for (const file of old.filter(({ content }) => content === 'snapshot')) await fs.remove(file.name);
    await fs.syncDirectory();
    for (const file of old.filter(({ content }) => content === 'log')) await fs.remove(file.name);
    await fs.syncDirectory();
  }
}

/** Logs begin right after a snapshot's revision, so one that begins at or before it holds nothing newer. */
const isSuperseded = ({ content, revision }: { content: string; revision: number }, base: number): boolean =>
  content === 'log' ? revision <= base : revision < base;

const recordOf = ({ revision, timeMs, key, entry }: StoreEvent): LogRecord => ({
  revision,
  timeMs,
  key,
  createRevision: entry?.createRevision ?? 0,
  ...(entry && { value: entry.value }),
});

function entryOf({ key, value }: Extract<Operation, { type: 'put' }>, revision: number, previous: Entry | undefined): Entry {
  const put = typeof value === 'string' ? { value } : value(revision);
  return { key, createRevision: previous?.createRevision ?? revision, modRevision: revision, ...put };
}
