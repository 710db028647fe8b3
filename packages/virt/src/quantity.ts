import type { kubevirt } from '@slipway/api';

export type Quantity = string | number;

const BINARY: Readonly<Record<string, bigint>> = {
  Ki: 1n << 10n,
  Mi: 1n << 20n,
  Gi: 1n << 30n,
  Ti: 1n << 40n,
  Pi: 1n << 50n,
  Ei: 1n << 60n,
};
const DECIMAL: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, '': 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const PATTERN = /^([+-]?)(\d+)?(?:\.(\d*))?(?:([eE][+-]?\d+)|(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]))?$/;

/** True for text that Kubernetes accepts as a resource quantity. */
export function isQuantity(quantity: Quantity): boolean {
  const match = PATTERN.exec(String(quantity).trim());
  return match !== null && (match[2] !== undefined || (match[3] ?? '') !== '');
}

/** The exact value in thousandths, rounded away from zero. Throws RangeError for text that is not a quantity. */
export function milliOf(quantity: Quantity): bigint {
  const text = String(quantity).trim();
  const match = PATTERN.exec(text);
  if (!match || !isQuantity(text)) throw new RangeError(`Not a quantity: ${text}`);
  const [, sign, whole = '0', fraction = '', exponent, suffix = ''] = match;
  const digits = BigInt(whole + fraction);
  const scale = exponent === undefined ? (DECIMAL[suffix] ?? 0) : Number(exponent.slice(1));
  const power = 3 + scale - fraction.length;
  const numerator = digits * (BINARY[suffix] ?? 1n) * 10n ** BigInt(Math.max(power, 0));
  const denominator = 10n ** BigInt(Math.max(-power, 0));
  const milli = (numerator + denominator - 1n) / denominator;
  return sign === '-' ? -milli : milli;
}

/** Whole units (bytes, CPUs), rounded up. */
export function unitsOf(quantity: Quantity): bigint {
  const milli = milliOf(quantity);
  return milli >= 0n ? (milli + 999n) / 1000n : milli / 1000n;
}

/** Bytes as a number; quantities above 2^53 lose precision. */
export function bytesOf(quantity: Quantity): number {
  return Number(unitsOf(quantity));
}

const BINARY_SUFFIXES = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];

/** Canonical text of a number of bytes with a binary suffix, for example `1536Mi`. */
export function binaryQuantity(bytes: number | bigint): string {
  let value = BigInt(bytes);
  let step = 0;
  while (value !== 0n && value % 1024n === 0n && step < BINARY_SUFFIXES.length - 1) {
    value /= 1024n;
    step++;
  }
  return `${value}${BINARY_SUFFIXES[step]}`;
}

const DECIMAL_SUFFIXES = ['', 'k', 'M', 'G', 'T', 'P', 'E'];

/** Canonical text of thousandths with a decimal suffix, for example `100m`, `3`, `50M`. */
export function decimalQuantity(milli: bigint): string {
  if (milli % 1000n !== 0n) return `${milli}m`;
  let value = milli / 1000n;
  let step = 0;
  while (value !== 0n && value % 1000n === 0n && step < DECIMAL_SUFFIXES.length - 1) {
    value /= 1000n;
    step++;
  }
  return `${value}${DECIMAL_SUFFIXES[step]}`;
}

/** True when the text carries a binary suffix: sums keep the format of their first operand. */
export function isBinary(quantity: Quantity): boolean {
  return /[KMGTPE]i$/.test(String(quantity));
}

/** Writes thousandths in the format (binary or decimal) of a given quantity. */
export function formatLike(milli: bigint, like: Quantity): string {
  if (isBinary(like) && milli % 1000n === 0n) {
    const bytes = milli / 1000n;
    return bytes < 1024n && bytes > -1024n ? String(bytes) : binaryQuantity(bytes);
  }
  return decimalQuantity(milli);
}

/** Requests or limits of one resource, if given. */
export function resourceOf(
  resources: kubevirt.ResourceRequirements | undefined,
  list: 'requests' | 'limits',
  name: string,
): Quantity | undefined {
  return resources?.[list]?.[name];
}

/** The first value among CPU and memory quantities of a domain that is not a quantity; undefined when all are. */
export function malformedQuantity({ memory, resources }: kubevirt.DomainSpec): Quantity | undefined {
  const all = [
    memory?.guest,
    memory?.maxGuest,
    ...Object.values(resources?.requests ?? {}),
    ...Object.values(resources?.limits ?? {}),
  ];
  return all.find((quantity) => quantity !== undefined && !isQuantity(quantity));
}
