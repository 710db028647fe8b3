import { isObject } from '@slipway/apimachinery';
import { type ProtoField, messageOf, protoMessage } from './field-table.ts';

const MAGIC = Buffer.from([0x6b, 0x38, 0x73, 0x00]);
const EMPTY = Buffer.alloc(0);
const LENGTH_BYTES = 4;
/** Contents of the wire's two forms of a field. */
const VARINT = 0;
const DELIMITED = 2;

type JsonObject = Readonly<Record<string, unknown>>;

/** True when objects of this kind can be written in protobuf. */
export const hasProtobuf = (apiVersion: string, kind: string): boolean => protoMessage(messageOf(apiVersion, kind)) !== undefined;

/** An object of a built-in kind in the envelope of Kubernetes. Throws when the kind has no such form. */
export function encodeProtobuf(object: JsonObject): Buffer {
  const kind = String(object['kind']);
  const apiVersion = String(object['apiVersion']);
  return envelope(apiVersion, kind, encodeMessage(messageOf(apiVersion, kind), object));
}

/** A list of a built-in kind; its items are written as they stand. */
export function encodeProtobufList(
  { apiVersion, kind, listKind }: { readonly apiVersion: string; readonly kind: string; readonly listKind: string },
  metadata: JsonObject,
  items: readonly JsonObject[],
): Buffer {
  const message = messageOf(apiVersion, kind);
  const parts = [delimited(1, encodeMessage('meta.v1.ListMeta', metadata))];
  for (const item of items) parts.push(delimited(2, encodeMessage(message, item)));
  return envelope(apiVersion, listKind, Buffer.concat(parts));
}

/** One frame of a watch: its length, then the event. */
export function encodeWatchFrame(type: string, object: JsonObject): Buffer {
  const event = Buffer.concat([text(1, type), delimited(2, delimited(1, encodeProtobuf(object)))]);
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + event.length);
  frame.writeUInt32BE(event.length, 0);
  event.copy(frame, LENGTH_BYTES);
  return frame;
}

function envelope(apiVersion: string, kind: string, raw: Buffer): Buffer {
  const typeMeta = Buffer.concat([text(1, apiVersion), text(2, kind)]);
  return Buffer.concat([MAGIC, delimited(1, typeMeta), delimited(2, raw), text(3, ''), text(4, '')]);
}

function varint(value: number | bigint): Buffer {
  if (typeof value === 'number' && value >= 0 && value < 0x80) return Buffer.from([value]);
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value)); // a negative number takes ten bytes
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

const tag = (number: number, wireType: number): Buffer => varint((number << 3) | wireType);
const integer = (number: number, value: number | bigint): Buffer => Buffer.concat([tag(number, VARINT), varint(value)]);
const delimited = (number: number, bytes: Buffer): Buffer => Buffer.concat([tag(number, DELIMITED), varint(bytes.length), bytes]);
const text = (number: number, value: string): Buffer => delimited(number, Buffer.from(value));

function encodeMessage(message: string, object: JsonObject): Buffer {
  const fields = protoMessage(message);
  if (fields === undefined) throw new Error(`No protobuf form of ${message}`);
  const parts: Buffer[] = [];
  for (const field of fields.values()) encodeField(parts, field, object);
  return Buffer.concat(parts);
}

function encodeField(parts: Buffer[], { number, name, type, isRepeated, isMap }: ProtoField, object: JsonObject): void {
  if (type === '-') return;
  if (name === '&') {
    const inner = encodeMessage(type, object);
    if (inner.length > 0) parts.push(delimited(number, inner));
    return;
  }
  const value = object[name];
  if (value === undefined || value === null) return;
  if (isMap) {
    if (isObject(value))
      for (const [key, item] of Object.entries(value)) parts.push(delimited(number, mapEntry(type, key, item)));
  } else if (isRepeated) {
    if (Array.isArray(value)) for (const item of value) parts.push(single(number, type, item));
  } else parts.push(single(number, type, value));
}

const mapEntry = (type: string, key: string, item: unknown): Buffer => Buffer.concat([text(1, key), single(2, type, item)]);

function single(number: number, type: string, value: unknown): Buffer {
  switch (type) {
    case 's':
    case 'e':
      return text(number, textOf(value));
    case 'b':
      return delimited(number, Buffer.from(textOf(value), 'base64'));
    case 'i':
    case 'n':
      return integer(number, wholeOf(value));
    case '?':
    case 'o':
      return integer(number, value === true ? 1 : 0);
    default:
      return delimited(number, compound(type, value));
  }
}

/** Reviews are answered with what the client sent, which may be anything. */
const textOf = (value: unknown): string => (typeof value === 'object' ? '' : String(value as string | number | boolean));

function wholeOf(value: unknown): number | bigint {
  const number = typeof value === 'object' ? 0 : Number(value);
  if (Number.isSafeInteger(number)) return number;
  return Number.isFinite(number) ? BigInt(Math.trunc(number)) : 0;
}

function compound(type: string, value: unknown): Buffer {
  switch (type) {
    case 't':
    case 'u':
      return timeBytes(textOf(value));
    case 'q':
      return text(1, textOf(value));
    case 'x':
      return typeof value === 'number'
        ? Buffer.concat([integer(1, 0), integer(2, wholeOf(value))])
        : Buffer.concat([integer(1, 1), text(3, textOf(value))]);
    case 'j':
      return text(1, JSON.stringify(value));
    case 'l':
      return Buffer.concat((Array.isArray(value) ? value : []).map((item) => text(1, textOf(item))));
    default:
      return isObject(value) ? encodeMessage(type, value) : EMPTY;
  }
}

const NANOS_PER_MICRO = 1000;

function timeBytes(value: string): Buffer {
  const milliseconds = Date.parse(value);
  if (Number.isNaN(milliseconds)) return EMPTY;
  const micros = Number((/\.(\d{1,6})/.exec(value)?.[1] ?? '').padEnd(6, '0'));
  return Buffer.concat([integer(1, Math.floor(milliseconds / 1000)), integer(2, micros * NANOS_PER_MICRO)]);
}
