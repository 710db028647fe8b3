import { badRequest, formatTime } from '@slipway/apimachinery';
import { type ProtoField, messageOf, protoMessage } from './field-table.ts';

const MAGIC = Buffer.from([0x6b, 0x38, 0x73, 0x00]);
export const PROTOBUF_TYPE = 'application/vnd.kubernetes.protobuf';
const MAX_DEPTH = 32;
/** The last second that JavaScript can write as a date. */
const MAX_SECONDS = 8_640_000_000_000n;

type JsonObject = Record<string, unknown>;

/** One field as it stands on the wire: a number, or the bytes of a length-delimited value. */
interface WireField {
  readonly number: number;
  readonly value: bigint | Buffer;
}

function readVarint(bytes: Buffer, start: number): { value: bigint; next: number } {
  let value = 0n;
  for (let i = 0; i < 10; i++) {
    const byte = bytes[start + i];
    if (byte === undefined) break;
    value |= BigInt(byte & 0x7f) << BigInt(7 * i);
    if ((byte & 0x80) === 0) return { value: BigInt.asIntN(64, value), next: start + i + 1 };
  }
  throw badRequest('protobuf: truncated or overlong number');
}

function* wireFields(bytes: Buffer): Generator<WireField> {
  let at = 0;
  while (at < bytes.length) {
    const tag = readVarint(bytes, at);
    const number = Number(tag.value >> 3n);
    const wireType = Number(tag.value & 7n);
    const body = readVarint(bytes, tag.next);
    if (wireType === 0) {
      yield { number, value: body.value };
      at = body.next;
    } else if (wireType === 2) {
      const end = body.next + Number(body.value);
      if (body.value < 0n || end > bytes.length) throw badRequest('protobuf: a field runs past the end of the message');
      yield { number, value: bytes.subarray(body.next, end) };
      at = end;
    } else throw badRequest(`protobuf: wire type ${wireType} is not used by Kubernetes`);
  }
}

/** The object inside a Kubernetes protobuf envelope as JSON value. Throws 400 for what cannot be understood whole. */
export function decodeProtobuf(bytes: Buffer): JsonObject {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC))
    throw badRequest('provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]');
  let typeMeta: Buffer = Buffer.alloc(0);
  let raw: Buffer = Buffer.alloc(0);
  for (const { number, value } of wireFields(bytes.subarray(MAGIC.length))) {
    if (number === 1 && Buffer.isBuffer(value)) typeMeta = value;
    if (number === 2 && Buffer.isBuffer(value)) raw = value;
  }
  let apiVersion = '';
  let kind = '';
  for (const { number, value } of wireFields(typeMeta)) {
    if (number === 1) apiVersion = String(value);
    if (number === 2) kind = String(value);
  }
  const message = messageOf(apiVersion, kind);
  if (protoMessage(message) === undefined) {
    throw badRequest(
      `protobuf bodies of kind ${JSON.stringify(kind)} are not supported; send JSON (for kubectl: write a manifest and apply it)`,
    );
  }
  return { kind, apiVersion, ...decodeMessage(message, raw, 0) };
}

function decodeMessage(message: string, bytes: Buffer, depth: number): JsonObject {
  const fields = protoMessage(message);
  if (fields === undefined || depth > MAX_DEPTH) throw badRequest(`protobuf: cannot read ${message}`);
  const object: JsonObject = {};
  for (const { number, value } of wireFields(bytes)) {
    const field = fields.get(number);
    // fields of later releases are dropped without a word, as everywhere in this encoding
    if (field !== undefined && field.type !== '-') assign(object, field, value, depth);
  }
  return object;
}

/** This encoding has no way to leave out a plain boolean or integer; JSON has, and an absent string or time is always empty. */
const ABSENT_WHEN_ZERO: ReadonlySet<string> = new Set(['o', 'n']);

function assign(object: JsonObject, field: ProtoField, value: bigint | Buffer, depth: number): void {
  const { name, type, isMap, isRepeated } = field;
  if (isMap) {
    const [key, item] = mapEntry(type, value, depth);
    const map = (object[name] ??= {}) as JsonObject; // only this branch writes the field
    Object.defineProperty(map, key, { value: item, enumerable: true, writable: true, configurable: true }); // `__proto__`, too
  } else if (isRepeated) {
    const list = (object[name] ??= []) as unknown[];
    list.push(scalar(type, value, depth));
  } else {
    const decoded = scalar(type, value, depth);
    const isAbsent = (decoded === '' && type !== 'e') || decoded === null || (ABSENT_WHEN_ZERO.has(type) && !decoded);
    if (name === '&') Object.assign(object, decoded);
    else if (!isAbsent) object[name] = decoded;
  }
}

function mapEntry(type: string, value: bigint | Buffer, depth: number): [string, unknown] {
  let key = '';
  let item: unknown = '';
  if (!Buffer.isBuffer(value)) throw badRequest('protobuf: a map entry must be a message');
  for (const part of wireFields(value)) {
    if (part.number === 1) key = String(part.value);
    if (part.number === 2) item = scalar(type, part.value, depth);
  }
  return [key, item];
}

function scalar(type: string, value: bigint | Buffer, depth: number): unknown {
  if (!Buffer.isBuffer(value)) return type === '?' || type === 'o' ? value !== 0n : Number(value);
  switch (type) {
    case 's':
    case 'e':
      return value.toString('utf8');
    case 'b':
      return value.toString('base64');
    case 't':
    case 'u':
      return timeOf(value, type === 'u');
    case 'q':
      return textField(value, 1);
    case 'x':
      return intOrString(value);
    case 'j':
      return jsonOf(value);
    case 'l':
      return [...wireFields(value)].map((part) => String(part.value));
    default:
      return decodeMessage(type, value, depth + 1);
  }
}

const NANOS_PER_MICRO = 1000n;

function timeOf(bytes: Buffer, isMicro: boolean): string | null {
  let seconds: bigint | undefined;
  let nanos = 0n;
  for (const { number, value } of wireFields(bytes)) {
    if (typeof value !== 'bigint') continue;
    if (number === 1) seconds = value;
    if (number === 2) nanos = value;
  }
  if (seconds === undefined || seconds < 0n || seconds > MAX_SECONDS) return null;
  const time = formatTime(Number(seconds) * 1000);
  return isMicro
    ? `${time.slice(0, -1)}.${String(nanos / NANOS_PER_MICRO)
        .padStart(6, '0')
        .slice(-6)}Z`
    : time;
}

/** A JSON value in bytes; null when there is none. Throws 400 when it cannot be read. */
function jsonOf(bytes: Buffer): unknown {
  const raw = textField(bytes, 1);
  try {
    return raw === '' ? null : JSON.parse(raw);
  } catch {
    throw badRequest('protobuf: a raw value is not JSON');
  }
}

function textField(bytes: Buffer, wanted: number): string {
  for (const { number, value } of wireFields(bytes)) if (number === wanted) return String(value);
  return '';
}

function intOrString(bytes: Buffer): unknown {
  let isText = false;
  let number = 0;
  let text = '';
  for (const field of wireFields(bytes)) {
    if (field.number === 1) isText = field.value === 1n;
    if (field.number === 2) number = Number(field.value);
    if (field.number === 3) text = String(field.value);
  }
  return isText ? text : number;
}
