/** One change as it stands in the log; a missing value means deletion. */
export interface LogRecord {
  readonly revision: number;
  readonly timeMs: number;
  readonly key: string;
  readonly value?: string;
  /** Revision at which the key came into being. */
  readonly createRevision: number;
}

const FIXED_BYTES = 8 + 8 + 8 + 4 + 4;
const DELETED = 0xff_ff_ff_ff;

/** Bytes of several records, one after the other. */
export function encodeRecords(records: readonly LogRecord[]): Buffer {
  let size = 0;
  for (const { key, value } of records)
    size += FIXED_BYTES + Buffer.byteLength(key) + (value === undefined ? 0 : Buffer.byteLength(value));
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const record of records) at = writeRecord(bytes, at, record);
  return bytes;
}

function writeRecord(bytes: Buffer, start: number, record: LogRecord): number {
  const { revision, timeMs, createRevision, key, value } = record;
  const body = start + FIXED_BYTES;
  const keyBytes = bytes.write(key, body);
  const valueBytes = value === undefined ? 0 : bytes.write(value, body + keyBytes);
  bytes.writeDoubleBE(revision, start);
  bytes.writeDoubleBE(timeMs, start + 8);
  bytes.writeDoubleBE(createRevision, start + 16);
  bytes.writeUInt32BE(keyBytes, start + 24);
  bytes.writeUInt32BE(value === undefined ? DELETED : valueBytes, start + 28);
  return body + keyBytes + valueBytes;
}

/** Reads what `encodeRecords` wrote. Throws when the bytes do not divide into records. */
export function decodeRecords(bytes: Buffer): LogRecord[] {
  const records: LogRecord[] = [];
  let at = 0;
  while (at < bytes.length) {
    const keyStart = at + FIXED_BYTES;
    const keyEnd = keyStart + bytes.readUInt32BE(at + 24);
    const valueBytes = bytes.readUInt32BE(at + 28);
    const end = valueBytes === DELETED ? keyEnd : keyEnd + valueBytes;
    if (end > bytes.length) throw new Error('Record runs past the end of its frame');
    records.push({
      revision: bytes.readDoubleBE(at),
      timeMs: bytes.readDoubleBE(at + 8),
      createRevision: bytes.readDoubleBE(at + 16),
      key: bytes.toString('utf8', keyStart, keyEnd),
      ...(valueBytes !== DELETED && { value: bytes.toString('utf8', keyEnd, end) }),
    });
    at = end;
  }
  return records;
}
