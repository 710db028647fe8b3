export type QuantityFormat = 'DecimalSI' | 'BinarySI' | 'DecimalExponent';

/** An exact amount in billionths, the finest step Kubernetes keeps, and the notation it was written in. */
export interface Quantity {
  readonly nano: bigint;
  readonly format: QuantityFormat;
}

const NANO = 1_000_000_000n;
const MAX_NANO = (2n ** 63n - 1n) * NANO;
const BINARY_SUFFIXES = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
const DECIMAL_SUFFIXES: Readonly<Record<number, string>> = {
  [-9]: 'n',
  [-6]: 'u',
  [-3]: 'm',
  0: '',
  3: 'k',
  6: 'M',
  9: 'G',
  12: 'T',
  15: 'P',
  18: 'E',
};
const DECIMAL_EXPONENTS = new Map(Object.entries(DECIMAL_SUFFIXES).map(([exponent, suffix]) => [suffix, Number(exponent)]));
const SHAPE = /^([+-]?)([0-9]*)(?:\.([0-9]*))?(.*)$/s;

export const QUANTITY_PATTERN_MESSAGE =
  "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/** Parses `100m`, `1.5Gi`, `2e3`, or a JSON number. Throws Error with the API server's wording. */
export function parseQuantity(input: string | number): Quantity {
  const text = typeof input === 'number' ? String(input) : input;
  const match = SHAPE.exec(text);
  const [, sign = '', whole = '', fraction = '', suffix = ''] = match ?? [];
  if (match === null || whole.length + fraction.length === 0) throw new Error(QUANTITY_PATTERN_MESSAGE);
  const scale = scaleOf(suffix);
  if (scale === undefined) {
    throw new Error(/^[eEinumkKMGTP]*[-+]?[0-9]*$/.test(suffix) ? "unable to parse quantity's suffix" : QUANTITY_PATTERN_MESSAGE);
  }
  const magnitude = scaled(BigInt(whole + fraction), scale, fraction.length);
  const nano = magnitude > MAX_NANO ? MAX_NANO : magnitude;
  return { nano: sign === '-' ? -nano : nano, format: scale.format };
}

/** Undefined instead of an exception. */
export function tryParseQuantity(input: unknown): Quantity | undefined {
  if (typeof input !== 'string' && typeof input !== 'number') return undefined;
  try {
    return parseQuantity(input);
  } catch {
    return undefined; // any other text is simply not a quantity
  }
}

interface Scale {
  readonly base: 2n | 10n;
  readonly exponent: number;
  readonly format: QuantityFormat;
}

function scaleOf(suffix: string): Scale | undefined {
  const binary = BINARY_SUFFIXES.indexOf(suffix);
  if (binary > 0) return { base: 2n, exponent: binary * 10, format: 'BinarySI' };
  const decimal = DECIMAL_EXPONENTS.get(suffix);
  if (decimal !== undefined) return { base: 10n, exponent: decimal, format: 'DecimalSI' };
  const exponent = /^[eE]([+-]?[0-9]{1,9})$/.exec(suffix)?.[1];
  return exponent === undefined ? undefined : { base: 10n, exponent: Number(exponent), format: 'DecimalExponent' };
}

/** digits / 10^fractionDigits * base^exponent in billionths, rounded up. */
function scaled(digits: bigint, { base, exponent }: Scale, fractionDigits: number): bigint {
  if (digits === 0n) return 0n;
  if (base === 2n) return divideUp(digits * 2n ** BigInt(exponent) * NANO, 10n ** BigInt(fractionDigits));
  const shift = exponent + 9 - fractionDigits;
  if (shift > 60) return MAX_NANO; // beyond every representable amount; also keeps the power small
  if (shift >= 0) return digits * 10n ** BigInt(shift);
  return shift < -10_000 ? 1n : divideUp(digits, 10n ** BigInt(-shift));
}

const divideUp = (value: bigint, divisor: bigint): bigint => (value + divisor - 1n) / divisor;

/** The canonical text: no fraction, the largest suffix that keeps the amount exact. */
export function formatQuantity(quantity: Quantity): string {
  const { nano } = quantity;
  if (nano === 0n) return '0';
  const negative = nano < 0n;
  const magnitude = negative ? -nano : nano;
  const text = isBinary(quantity, magnitude) ? formatBinary(magnitude / NANO) : formatDecimal(magnitude, quantity.format);
  return negative ? `-${text}` : text;
}

/** Small and fractional amounts are written in decimal whatever the notation was. */
function isBinary({ format }: Quantity, magnitude: bigint): boolean {
  return format === 'BinarySI' && magnitude >= 1024n * NANO && magnitude % NANO === 0n;
}

function formatBinary(value: bigint): string {
  let rest = value;
  let step = 0;
  while (step < BINARY_SUFFIXES.length - 1 && rest % 1024n === 0n) {
    rest /= 1024n;
    step++;
  }
  return `${rest}${BINARY_SUFFIXES[step]}`;
}

function formatDecimal(magnitude: bigint, format: QuantityFormat): string {
  let rest = magnitude;
  let exponent = -9;
  while (exponent < 18 && rest % 1000n === 0n) {
    rest /= 1000n;
    exponent += 3;
  }
  if (format === 'DecimalExponent') return exponent === 0 ? `${rest}` : `${rest}e${exponent}`;
  return `${rest}${DECIMAL_SUFFIXES[exponent]}`;
}

/** Canonical text of a quantity in any notation. Throws like `parseQuantity`. */
export function canonicalQuantity(input: string | number): string {
  return formatQuantity(parseQuantity(input));
}

/** Negative, zero or positive. */
export function compareQuantities(a: Quantity, b: Quantity): number {
  return a.nano < b.nano ? -1 : a.nano > b.nano ? 1 : 0;
}

/** Keeps the notation of `a` unless `a` is zero, as Kubernetes sums do. */
export function addQuantities(a: Quantity, b: Quantity): Quantity {
  return { nano: a.nano + b.nano, format: a.nano === 0n ? b.format : a.format };
}

export function subtractQuantities(a: Quantity, b: Quantity): Quantity {
  return { nano: a.nano - b.nano, format: a.nano === 0n ? b.format : a.format };
}

/** Whole units, rounded up (bytes for memory and storage). */
export function quantityValue(quantity: Quantity): bigint {
  return quantity.nano >= 0n ? divideUp(quantity.nano, NANO) : -(-quantity.nano / NANO);
}

/** Thousandths, rounded up (millicores for cpu). */
export function quantityMilliValue(quantity: Quantity): bigint {
  return quantity.nano >= 0n ? divideUp(quantity.nano, 1_000_000n) : -(-quantity.nano / 1_000_000n);
}

/** Whole units as a quantity; binary notation for sizes. */
export function quantityOf(value: bigint | number, format: QuantityFormat = 'DecimalSI'): Quantity {
  return { nano: BigInt(value) * NANO, format };
}
