const ALPHABET = './ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const WORDS = 18 + 4 * 256;

interface Blowfish {
  readonly p: Uint32Array;
  readonly s: readonly Uint32Array[];
}

/** The tables of Blowfish are the first digits of π, 32 bits at a time. */
function initialState(): Blowfish {
  const bits = BigInt(WORDS * 32);
  const guard = 64n;
  const one = 1n << (bits + guard);
  const pi = 4n * (4n * arctan(5n, one) - arctan(239n, one));
  const fraction = (pi >> guard) & ((1n << bits) - 1n);
  const hex = fraction.toString(16).padStart(WORDS * 8, '0');
  const words = Uint32Array.from({ length: WORDS }, (_none, index) => Number.parseInt(hex.slice(index * 8, index * 8 + 8), 16));
  return { p: words.slice(0, 18), s: [0, 1, 2, 3].map((box) => words.slice(18 + box * 256, 18 + (box + 1) * 256)) };
}

/** Machin's series for arctan(1/x). */
function arctan(x: bigint, one: bigint): bigint {
  let [power, sum, sign] = [one / x, 0n, 1n];
  for (let k = 1n; power > 0n; k += 2n) {
    sum += (sign * power) / k;
    power /= x * x;
    sign = -sign;
  }
  return sum;
}

function encrypt({ p, s }: Blowfish, block: Uint32Array, at: number): void {
  const [s0, s1, s2, s3] = s;
  if (!s0 || !s1 || !s2 || !s3) return;
  let left = block[at] ?? 0;
  let right = block[at + 1] ?? 0;
  for (let round = 0; round < 16; round++) {
    left ^= p[round] ?? 0;
    const mixed =
      (((s0[left >>> 24] ?? 0) + (s1[(left >>> 16) & 255] ?? 0)) ^ (s2[(left >>> 8) & 255] ?? 0)) + (s3[left & 255] ?? 0);
    right ^= mixed;
    [left, right] = [right, left];
  }
  block[at] = (right ^ (p[17] ?? 0)) >>> 0;
  block[at + 1] = (left ^ (p[16] ?? 0)) >>> 0;
}

function wordsOf(bytes: Uint8Array, count: number): Uint32Array {
  let at = 0;
  const next = (): number => bytes[at++ % bytes.length] ?? 0;
  return Uint32Array.from({ length: count }, () => ((next() << 24) | (next() << 16) | (next() << 8) | next()) >>> 0);
}

function expand(state: Blowfish, key: Uint32Array, salt: Uint32Array): void {
  for (let index = 0; index < 18; index++) state.p[index] = ((state.p[index] ?? 0) ^ (key[index] ?? 0)) >>> 0;
  const block = new Uint32Array(2);
  let at = 0;
  for (const table of [state.p, ...state.s]) {
    for (let index = 0; index < table.length; index += 2) {
      block[0] = (block[0] ?? 0) ^ (salt[at++ % 4] ?? 0);
      block[1] = (block[1] ?? 0) ^ (salt[at++ % 4] ?? 0);
      encrypt(state, block, 0);
      table[index] = block[0] ?? 0;
      table[index + 1] = block[1] ?? 0;
    }
  }
}

function encode(bytes: Uint8Array): string {
  let out = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const [a = 0, b = 0, c = 0] = bytes.subarray(at, at + 3);
    const group = [a >> 2, ((a & 3) << 4) | (b >> 4), ((b & 15) << 2) | (c >> 6), c & 63];
    out += group
      .slice(0, Math.min(bytes.length - at, 3) + 1)
      .map((digit) => ALPHABET[digit] ?? '')
      .join('');
  }
  return out;
}

/** The password hashed with bcrypt, version 2a. The salt has 16 bytes. */
export function bcrypt(password: string, salt: Uint8Array, cost: number): string {
  const key = wordsOf(Buffer.concat([Buffer.from(password), Buffer.from([0])]), 18);
  const saltWords = wordsOf(salt, 18);
  const zero = new Uint32Array(4);
  const state = initialState();
  expand(state, key, saltWords);
  for (let round = 0; round < 2 ** cost; round++) {
    expand(state, key, zero);
    expand(state, saltWords, zero);
  }
  const text = wordsOf(Buffer.from('OrpheanBeholderScryDoubt'), 6);
  for (let round = 0; round < 64; round++) for (let at = 0; at < 6; at += 2) encrypt(state, text, at);
  const bytes = Buffer.alloc(24);
  text.forEach((word, index) => bytes.writeUInt32BE(word, index * 4));
  return `$2a$${String(cost).padStart(2, '0')}$${encode(salt)}${encode(bytes.subarray(0, 23))}`;
}
