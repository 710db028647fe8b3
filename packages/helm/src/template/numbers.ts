/** Digits of a float without a point, and where the point stands (`0.d1d2… × 10^exponent`). */
interface Decimal {
  readonly digits: string;
  readonly exponent: number;
}

function shortest(value: number): Decimal {
  const [mantissa = '0', power = '0'] = Math.abs(value).toExponential().split('e');
  return { digits: mantissa.replace('.', ''), exponent: Number(power) + 1 };
}

function special(value: number): string | undefined {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  return undefined;
}

const signOf = (value: number): string => (value < 0 || Object.is(value, -0) ? '-' : '');

function scientific(mantissa: string, exponent: number, letter: string): string {
  const size = String(Math.abs(exponent)).padStart(2, '0');
  return `${mantissa}${letter}${exponent < 0 ? '-' : '+'}${size}`;
}

/** `%g` with the shortest digits: what `%v` prints for a float64. */
export function formatG(value: number, precision?: number, letter = 'e'): string {
  const odd = special(value);
  if (odd !== undefined) return odd;
  if (value === 0) return `${signOf(value)}0`;
  const wanted = precision === 0 ? 1 : precision;
  const { digits, exponent } = wanted === undefined ? shortest(value) : rounded(value, wanted);
  // the shortest form decides as if it had six digits
  const limit = wanted === undefined ? 6 : wanted > digits.length && digits.length >= exponent ? digits.length : wanted;
  const power = exponent - 1;
  if (power < -4 || power >= limit) return signOf(value) + scientific(pointed(digits), power, letter);
  return signOf(value) + plain(digits, exponent);
}

function rounded(value: number, precision: number): Decimal {
  const [mantissa = '0', power = '0'] = Math.abs(value)
    .toExponential(Math.min(precision - 1, 100))
    .split('e');
  return { digits: mantissa.replace('.', '').replace(/0+$/, '') || '0', exponent: Number(power) + 1 };
}

const pointed = (digits: string): string => (digits.length > 1 ? `${digits[0]}.${digits.slice(1)}` : digits);

function plain(digits: string, exponent: number): string {
  if (exponent <= 0) return `0.${'0'.repeat(-exponent)}${digits}`;
  if (digits.length <= exponent) return digits + '0'.repeat(exponent - digits.length);
  return `${digits.slice(0, exponent)}.${digits.slice(exponent)}`;
}

/** `%e`. */
export function formatE(value: number, precision: number | undefined, letter = 'e'): string {
  const odd = special(value);
  if (odd !== undefined) return odd;
  const [mantissa = '0', power = '0'] = Math.abs(value)
    .toExponential(precision === undefined ? undefined : Math.min(precision, 100))
    .split('e');
  return signOf(value) + scientific(mantissa, Number(power), letter);
}

/** Halves go to the even digit, as Go rounds; toFixed would take them up. */
function fixed(size: number, places: number): string {
  const exact = size.toFixed(100);
  const end = exact.indexOf('.') + 1 + places;
  const isHalf = places < 100 && /^50*$/.test(exact.slice(end));
  const kept = exact.slice(0, end).replace(/\.$/, '');
  return isHalf && Number(kept.at(-1)) % 2 === 0 ? kept : size.toFixed(places);
}

/** `%f`; without a precision as many digits as the number has. */
export function formatF(value: number, precision: number | undefined): string {
  const odd = special(value);
  if (odd !== undefined) return odd;
  if (precision === undefined) {
    const { digits, exponent } = shortest(value);
    return value === 0 ? `${signOf(value)}0` : signOf(value) + plain(digits, exponent);
  }
  const places = Math.min(precision, 100);
  const size = Math.abs(value);
  // toFixed changes to exponents at 1e21; such numbers are whole
  const text = size < 1e21 ? fixed(size, places) : BigInt(size).toString() + (places > 0 ? `.${'0'.repeat(places)}` : '');
  return signOf(value) + text;
}
