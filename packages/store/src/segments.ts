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
  /** It ends in a write that did not arrive in full. */
  readonly isTorn: boolean;
}

/** Reads a log file once, however often it is asked for. */
export type LogReader = (file: StoreFileName) => Promise<LogContents>;

export function logReader(fs: StoreFs): LogReader {
  const known = new Map<string, Promise<LogContents>>();
  return (file) => {
    const contents = known.get(file.name) ?? readLog(fs, file);
    known.set(file.name, contents);
    return contents;
  };
}

/**
 * The logs, oldest first, without those that a failed rotation left at the end: they hold nothing, and the log before
 * went on. Only the last one of these may end in a torn write. Throws StoreCorruptError.
 */
export async function liveLogs(read: LogReader, logs: readonly StoreFileName[]): Promise<readonly StoreFileName[]> {
  const last = logs.at(-1);
  const before = logs.at(-2);
  if (last === undefined || before === undefined || (await read(last)).records.length > 0) return logs;
  const { records, isTorn } = await read(before);
  const end = records.at(-1)?.revision ?? before.revision - 1;
  const wentOn = end >= last.revision || (end === last.revision - 1 && isTorn);
  return wentOn ? liveLogs(read, logs.slice(0, -1)) : logs;
}

/** Throws StoreCorruptError for a log that another one follows and that is not whole. */
export function requireWhole(file: StoreFileName, { validBytes, isTorn }: LogContents): void {
  if (isTorn) throw new StoreCorruptError(file.name, `it ends too early, at ${validBytes}`);
  if (validBytes === 0) throw new StoreCorruptError(file.name, 'it has no header');
}

async function readLog(fs: StoreFs, file: StoreFileName): Promise<LogContents> {
  const bytes = Buffer.from(await fs.read(file.name));
  const scan = scanFrames(bytes, 0);
  if (scan.corruptAt !== undefined) {
    throw new StoreCorruptError(file.name, `damaged bytes at ${scan.corruptAt}, followed by good ones`);
  }
  const [header, ...payloads] = scan.payloads;
  const isTorn = scan.validBytes < bytes.length;
  if (header === undefined) return { records: [], validBytes: 0, isTorn };
  checkHeader(file, header);
  return { records: decodeAll(file, payloads), validBytes: scan.validBytes, isTorn };
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
    await file.close();
    await fs.rename(temporary, name);
  } catch (error) {
    await file.close().catch(() => undefined);
    await fs.remove(temporary).catch(() => undefined); // on a full disk its space is what is missing
    throw error;
  }
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
