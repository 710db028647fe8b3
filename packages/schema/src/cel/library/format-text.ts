import { Duration, UnsignedInt } from '@marcbachmann/cel-js/evaluator';

const CLAUSE = /%(?:%|(\.\d{1,3})?([sdfebxXo])|(.?))/gs;
const DEFAULT_PRECISION = 6;

/** `'%s has %d'.format([name, count])`. */
export function formatText(format: string, values: readonly unknown[]): string {
  let index = 0;
  return format.replace(CLAUSE, (clause, precision: string | undefined, verb: string | undefined) => {
    if (clause === '%%') return '%';
    if (verb === undefined) throw new Error(`unrecognized formatting clause ${JSON.stringify(clause.slice(1))}`);
    if (index >= values.length) throw new Error(`index ${index} out of range`);
    return formatValue(values[index++], verb, precision === undefined ? DEFAULT_PRECISION : Number(precision.slice(1)));
  });
}

function formatValue(value: unknown, verb: string, precision: number): string {
  switch (verb) {
    case 's':
      return textOf(value);
    case 'd':
      return wholeText(value, 10, verb);
    case 'b':
      return typeof value === 'boolean' ? (value ? '1' : '0') : wholeText(value, 2, verb);
    case 'o':
      return wholeText(value, 8, verb);
    case 'x':
      return hexText(value);
    case 'X':
      return hexText(value).toUpperCase();
    default:
      return fractionText(value, verb, precision);
  }
}

const refuse = (verb: string): never => {
  throw new Error(`error during formatting: %${verb} clause does not fit the type of its value`);
};

function wholeText(value: unknown, base: number, verb: string): string {
  if (typeof value === 'bigint') return value.toString(base);
  if (value instanceof UnsignedInt) return value.valueOf().toString(base);
  if (typeof value === 'number' && verb === 'd' && !Number.isFinite(value)) return doubleText(value);
  return refuse(verb);
}

function hexText(value: unknown): string {
  if (typeof value === 'string') return Buffer.from(value).toString('hex');
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return wholeText(value, 16, 'x');
}

function fractionText(value: unknown, verb: string, precision: number): string {
  const number = typeof value === 'bigint' ? Number(value) : value instanceof UnsignedInt ? Number(value.valueOf()) : value;
  if (typeof number !== 'number') return refuse(verb);
  if (!Number.isFinite(number)) return doubleText(number);
  const digits = Math.min(precision, 100);
  if (verb === 'f') return number.toFixed(digits);
  return number.toExponential(digits).replace(/e([+-])(\d)$/, 'e$10$2');
}

function doubleText(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  return value === Number.POSITIVE_INFINITY ? 'Infinity' : value === Number.NEGATIVE_INFINITY ? '-Infinity' : String(value);
}

/** A value as `%s` shows it. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return doubleText(value);
  if (value === null || value === undefined) return 'null';
  if (typeof value !== 'object') return String(value as bigint | boolean);
  if (Array.isArray(value)) return `[${value.map(textOf).join(', ')}]`;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8');
  if (value instanceof Date) return timeText(value);
  if (value instanceof Duration) return durationText(value);
  if (Object.getPrototypeOf(value) !== Object.prototype) return String(value as { toString(): string });
  const entries = Object.entries(value).map(([key, item]): [string, string] => [key, textOf(item)]);
  return `{${entries
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, text]) => `${key}: ${text}`)
    .join(', ')}}`;
}

/** RFC 3339 without a fraction that is zero. */
export const timeText = (time: Date): string => time.toISOString().replace(/\.?0*Z$/, 'Z');

/** Seconds, as protobuf writes durations in JSON. */
export function durationText(duration: Duration): string {
  const { seconds, nanos } = duration;
  if (nanos === 0) return `${seconds}s`;
  const sign = seconds < 0n || nanos < 0 ? '-' : '';
  const whole = seconds < 0n ? -seconds : seconds;
  return `${sign}${whole}.${String(Math.abs(nanos)).padStart(9, '0').replace(/0+$/, '')}s`;
}
