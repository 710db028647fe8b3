import { encodeFrame, scanFrames } from './frame.ts';
import { type LogRecord, decodeRecords, encodeRecords } from './record.ts';
import type { StoreFs } from './store-fs.ts';
import { type Entry, StoreCorruptError } from './types.ts';

/** First frame of every file. `revision`: of a log the first it may hold, of a snapshot the one it shows. */
interface FileHeader {
  readonly format: 1;
  readonly content: 'log' | 'snapshot';
  readonly revision: number;
  /** Entries of a snapshot. */
  readonly count?: number;
}

const NAME = /^(log|snapshot)-(\d{16})\.slipway$/;
const SNAPSHOT_FRAME_BYTES = 1 << 20;

export interface StoreFileName {
  readonly name: string;
  readonly content: 'log' | 'snapshot';
  readonly revision: number;
}

export const fileName = (content: 'log' | 'snapshot', revision: number): string =>
  `${content}-${String(revision).padStart(16, '0')}.slipway`;

/** Files of the store by name, oldest first; anything else in the directory is ignored. */
export function storeFiles(names: readonly string[]): StoreFileName[] {
  return names
    .map((name) => ({ name, match: NAME.exec(name) }))
    .flatMap(({ name, match }) =>
      match === null
        ? []
        : [{ name, content: match[1] === 'log' ? ('log' as const) : ('snapshot' as const), revision: Number(match[2]) }],
    )
    .sort((a, b) => a.revision - b.revision);
}

export const logHeader = (revision: number): Buffer => headerFrame({ format: 1, content: 'log', revision });

function headerFrame(header: FileHeader): Buffer {
  return encodeFrame(Buffer.from(JSON.stringify(header)));
}

export interface LogContents {
  readonly records: readonly LogRecord[];
  /** Length without a torn last write; 0 when not even the header reached the disk. */
  readonly validBytes: number;
}

/** Reads one log file. Only the newest may end in a torn write. Throws StoreCorruptError. */
export async function readLog(fs: StoreFs, file: StoreFileName, isNewest: boolean): Promise<LogContents> {
  const bytes = Buffer.from(await fs.read(file.name));
  const scan = scanFrames(bytes, 0);
  if (scan.corruptAt !== undefined) {
    throw new StoreCorruptError(file.name, `damaged bytes at ${scan.corruptAt}, followed by good ones`);
  }
  const [header, ...payloads] = scan.payloads;
  if (!isNewest && scan.validBytes < bytes.length)
    throw new StoreCorruptError(file.name, `it ends too early, at ${scan.validBytes}`);
  if (header === undefined) {
    if (!isNewest) throw new StoreCorruptError(file.name, 'it has no header');
    return { records: [], validBytes: 0 };
  }
  checkHeader(file, header);
  return { records: decodeAll(file, payloads), validBytes: scan.validBytes };
}

/** Reads one snapshot. Throws StoreCorruptError: a snapshot is renamed into place only when it is complete. */
export async function readSnapshot(fs: StoreFs, file: StoreFileName): Promise<readonly LogRecord[]> {
  const bytes = Buffer.from(await fs.read(file.name));
  const scan = scanFrames(bytes, 0);
  const [header, ...payloads] = scan.payloads;
  if (header === undefined || scan.validBytes < bytes.length) {
    throw new StoreCorruptError(file.name, `damaged bytes at ${scan.validBytes}`);
  }
  const { count } = checkHeader(file, header);
  const records = decodeAll(file, payloads);
  if (count !== records.length) throw new StoreCorruptError(file.name, `it holds ${records.length} of ${count} entries`);
  return records;
}

function checkHeader(file: StoreFileName, payload: Buffer): FileHeader {
  const header = JSON.parse(payload.toString()) as FileHeader; // its CRC was right, so this program wrote it
  if (header.format !== 1) throw new StoreCorruptError(file.name, `format ${String(header.format)} is not known to this version`);
  if (header.content !== file.content || header.revision !== file.revision) {
    throw new StoreCorruptError(file.name, `its content belongs to ${fileName(header.content, header.revision)}`);
  }
  return header;
}

function decodeAll(file: StoreFileName, payloads: readonly Buffer[]): LogRecord[] {
  try {
    return payloads.flatMap(decodeRecords);
  } catch (error) {
    throw new StoreCorruptError(file.name, 'a record does not parse', error);
  }
}

/** Writes a complete snapshot under its final name: temporary file, sync, rename, directory sync. */
export async function writeSnapshot(fs: StoreFs, revision: number, entries: readonly Entry[], nowMs: number): Promise<void> {
  const name = fileName('snapshot', revision);
  const temporary = `${name}.tmp`;
  const file = await fs.open(temporary);
  try {
    await file.truncate(0);
    let position = 0;
    for (const frame of snapshotFrames(revision, entries, nowMs)) {
      await file.write(frame, position);
      position += frame.length;
    }
    await file.sync();
  } finally {
    await file.close();
  }
  await fs.rename(temporary, name);
  await fs.syncDirectory();
}

function* snapshotFrames(revision: number, entries: readonly Entry[], timeMs: number): Generator<Buffer> {
  yield headerFrame({ format: 1, content: 'snapshot', revision, count: entries.length });
  let records: LogRecord[] = [];
  let size = 0;
  for (const { key, value, createRevision, modRevision } of entries) {
    records.push({ key, value, createRevision, revision: modRevision, timeMs });
    size += value.length;
    if (size < SNAPSHOT_FRAME_BYTES) continue;
    yield encodeFrame(encodeRecords(records));
    records = [];
    size = 0;
  }
  if (records.length > 0) yield encodeFrame(encodeRecords(records));
}
