/** Bytes of one field in both byte orders, as ISO 9660 wants most numbers. */
export function both32(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, value, true);
  view.setUint32(4, value, false);
  return bytes;
}

export function both16(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, value, true);
  view.setUint16(2, value, false);
  return bytes;
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}

export const ascii = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0) & 0x7f);

/** UCS-2, big endian: the alphabet of Joliet. */
export function ucs2(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length * 2);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < text.length; index++) view.setUint16(index * 2, text.charCodeAt(index), false);
  return bytes;
}

/** Seven-byte date of directory records, in UTC. */
export function recordDate(date: Date): Uint8Array {
  return Uint8Array.of(
    date.getUTCFullYear() - 1900,
    date.getUTCMonth() + 1,
    date.getUTCDate(),
    date.getUTCHours(),
    date.getUTCMinutes(),
    date.getUTCSeconds(),
    0,
  );
}

/** Seventeen-byte date of volume descriptors. */
export function volumeDate(date: Date): Uint8Array {
  return concat(
    ascii(
      date
        .toISOString()
        .replace(/[^0-9]/g, '')
        .slice(0, 16),
    ),
    Uint8Array.of(0),
  );
}

export interface RecordInput {
  readonly identifier: Uint8Array;
  readonly sector: number;
  readonly size: number;
  readonly isDirectory: boolean;
  readonly date: Date;
  readonly systemUse?: Uint8Array;
}

/** One directory record; its length is always even. */
export function directoryRecord(input: RecordInput): Uint8Array {
  const { identifier, systemUse = new Uint8Array() } = input;
  const padding = new Uint8Array(identifier.length % 2 === 0 ? 1 : 0);
  const body = concat(
    Uint8Array.of(0),
    both32(input.sector),
    both32(input.size),
    recordDate(input.date),
    Uint8Array.of(input.isDirectory ? 2 : 0, 0, 0),
    both16(1),
    Uint8Array.of(identifier.length),
    identifier,
    padding,
    systemUse,
  );
  const even = new Uint8Array((body.length + 1) % 2);
  const length = body.length + 1 + even.length;
  if (length > 255) throw new Error('Directory record is too long');
  return concat(Uint8Array.of(length), body, even);
}

const SUSP_HEADER = 4;

function susp(signature: string, ...data: readonly Uint8Array[]): Uint8Array {
  const body = concat(...data);
  return concat(ascii(signature), Uint8Array.of(body.length + SUSP_HEADER, 1), body);
}

export const SUSP_START = susp('SP', Uint8Array.of(0xbe, 0xef, 0));
export const RRIP_REFERENCE = susp('ER', Uint8Array.of(10, 0, 0, 1), ascii('RRIP_1991A'));

/** POSIX attributes: read-only files and directories of root. */
export function posixEntry(isDirectory: boolean, links: number): Uint8Array {
  return susp('PX', both32(isDirectory ? 0o040555 : 0o100444), both32(links), both32(0), both32(0));
}

const MAX_NAME_PART = 249;

/** The full name; two entries when it does not fit into one. */
export function nameEntries(name: string): Uint8Array {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length <= MAX_NAME_PART) return susp('NM', Uint8Array.of(0), bytes);
  const first = susp('NM', Uint8Array.of(1), bytes.subarray(0, MAX_NAME_PART));
  return concat(first, susp('NM', Uint8Array.of(0), bytes.subarray(MAX_NAME_PART)));
}

/** Says that more entries of this record lie elsewhere. */
export function continuationEntry(sector: number, offset: number, length: number): Uint8Array {
  return susp('CE', both32(sector), both32(offset), both32(length));
}
