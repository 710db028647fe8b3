import type { LogRecord } from './record.ts';
import { type LogReader, type StoreFileName, liveLogs, logReader, readSnapshot, requireWhole, storeFiles } from './segments.ts';
import type { StoreFs } from './store-fs.ts';
import { type Entry, StoreCorruptError, type StoreEvent } from './types.ts';

export interface LoadedStore {
  readonly entries: Map<string, Entry>;
  readonly events: StoreEvent[];
  /** Newest revision. */
  readonly revision: number;
  /** Changes up to this revision are not in `events`. */
  readonly compactedRevision: number;
  /** The log to go on with: absent when there is none yet. */
  readonly openLog?: { readonly file: StoreFileName; readonly validBytes: number };
}

/** Logs do not follow each other: normal only when a clean-up of old ones was interrupted. */
class GapError extends StoreCorruptError {}

/**
 * Rebuilds the state from the oldest snapshot that the logs continue (or from nothing), so that the history comes back
 * as well. Throws StoreCorruptError.
 */
export async function loadStore(fs: StoreFs): Promise<LoadedStore> {
  const files = storeFiles(await fs.list());
  const read = logReader(fs);
  const logs = await liveLogs(
    read,
    files.filter(({ content }) => content === 'log'),
  );
  const snapshots = files.filter(({ content }) => content === 'snapshot');
  const isContinued = (revision: number): boolean => logs.some((log) => log.revision === revision + 1);
  const bases = [...(isContinued(0) ? [undefined] : []), ...snapshots.filter(({ revision }) => isContinued(revision))];
  let failure: GapError | undefined;
  for (const base of bases) {
    try {
      return await loadFrom(fs, read, base, logs);
    } catch (error) {
      // a later snapshot holds everything; logs before it may be half removed
      if (!(error instanceof GapError)) throw error;
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
  // a restored backup is a snapshot alone; with neither there is nothing yet
  return loadFrom(fs, read, snapshots.at(-1), logs);
}

async function loadFrom(
  fs: StoreFs,
  read: LogReader,
  snapshot: StoreFileName | undefined,
  allLogs: readonly StoreFileName[],
): Promise<LoadedStore> {
  const base = snapshot?.revision ?? 0;
  const logs = allLogs.filter(({ revision }) => revision > base);
  const entries = new Map<string, Entry>();
  if (snapshot !== undefined) for (const record of await readSnapshot(fs, snapshot)) entries.set(record.key, entryOf(record));
  const replay = { entries, events: [] as StoreEvent[], revision: base };
  let openLog: LoadedStore['openLog'];
  for (const [index, file] of logs.entries()) {
    const contents = await read(file);
    if (file.revision <= replay.revision && contents.records.length === 0) continue; // left by a failed rotation
    if (file.revision !== replay.revision + 1) {
      throw new GapError(file.name, `it begins at revision ${file.revision}, but the one before ends at ${replay.revision}`);
    }
    const isNewest = index === logs.length - 1;
    if (!isNewest) requireWhole(file, contents);
    for (const record of contents.records) replayRecord(replay, record, file);
    if (isNewest) openLog = { file, validBytes: contents.validBytes };
  }
  return { ...replay, compactedRevision: base, ...(openLog && { openLog }) };
}

function replayRecord(
  replay: { entries: Map<string, Entry>; events: StoreEvent[]; revision: number },
  record: LogRecord,
  file: StoreFileName,
): void {
  if (record.revision !== replay.revision + 1) {
    throw new StoreCorruptError(file.name, `revision ${record.revision} follows ${replay.revision}`);
  }
  const previous = replay.entries.get(record.key);
  const entry = record.value === undefined ? undefined : entryOf(record);
  if (entry === undefined) replay.entries.delete(record.key);
  else replay.entries.set(record.key, entry);
  replay.revision = record.revision;
  replay.events.push({
    revision: record.revision,
    timeMs: record.timeMs,
    key: record.key,
    ...(entry && { entry }),
    ...(previous && { previous }),
  });
}

const entryOf = ({ key, value = '', createRevision, revision }: LogRecord): Entry => ({
  key,
  value,
  createRevision,
  modRevision: revision,
});
