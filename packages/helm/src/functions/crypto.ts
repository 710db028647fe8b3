import { createCipheriv, createDecipheriv, createHmac, scryptSync } from 'node:crypto';
import { define, FunctionError, type FunctionTable } from '../template/functions.ts';
import type { Int } from '../template/values.ts';
import { bcrypt } from './bcrypt.ts';
import type { FunctionSources } from './context.ts';

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
const DIGITS = '0123456789';
/** Go's default. */
const BCRYPT_COST = 10;
const MAX_RANDOM = 1_000_000;

/** Sprig's functions with randomness and with ciphers. */
export function cryptoFunctions(sources: FunctionSources): FunctionTable {
  const { budget, randomBytes } = sources;
  const random = (characters: string) =>
    define('int', (count: Int) => {
      const size = Number(count.value);
      budget.grow(size);
      if (size < 0 || size > MAX_RANDOM) throw new FunctionError(`cannot make ${size} random characters`);
      return pick(characters, size, randomBytes);
    });
  const hash = (password: string): string => {
    budget.step(100_000);
    try {
      return bcrypt(password, randomBytes(16), BCRYPT_COST);
    } catch (error) {
      throw new FunctionError(String(error));
    }
  };
  return {
    randAlphaNum: random(LETTERS + DIGITS),
    randAlpha: random(LETTERS),
    randNumeric: random(DIGITS),
    randAscii: random(String.fromCharCode(...Array.from({ length: 95 }, (_none, index) => index + 32))),
    randBytes: define('int', (count: Int) => {
      if (count.value < 0n || count.value > MAX_RANDOM) throw new FunctionError(`cannot make ${count.value} random bytes`);
      return Buffer.from(randomBytes(Number(count.value))).toString('base64');
    }),
    shuffle: define('string', (text: string) => shuffled(text, randomBytes)),
    uuidv4: define('', () => uuid(randomBytes(16))),
    bcrypt: define('string', hash),
    htpasswd: define('string string', (user: string, password: string) =>
      user.includes(':') ? `invalid username: ${user}` : `${user}:${hash(password)}`,
    ),
    encryptAES: define('string string', (password: string, text: string) => {
      const iv = randomBytes(16);
      const cipher = createCipheriv('aes-256-cbc', aesKey(password), iv);
      return Buffer.concat([iv, cipher.update(text, 'utf8'), cipher.final()]).toString('base64');
    }),
    decryptAES: define('string string', decrypt),
    derivePassword: define('int string string string string', derivePassword),
  };
}

function pick(characters: string, count: number, randomBytes: (count: number) => Uint8Array): string {
  const limit = 256 - (256 % characters.length);
  let out = '';
  while (out.length < count) {
    // bytes beyond the last whole multiple would favour some characters
    for (const byte of randomBytes(Math.max(count - out.length, 16)))
      if (byte < limit && out.length < count) out += characters[byte % characters.length] ?? '';
  }
  return out;
}

function shuffled(text: string, randomBytes: (count: number) => Uint8Array): string {
  const chars = Array.from(text);
  const bytes = Buffer.from(randomBytes(Math.max(chars.length, 1) * 4));
  for (let at = chars.length - 1; at > 0; at--) {
    const other = bytes.readUInt32BE(at * 4) % (at + 1);
    const [a = '', b = ''] = [chars[at], chars[other]];
    chars[at] = b;
    chars[other] = a;
  }
  return chars.join('');
}

function uuid(bytes: Uint8Array): string {
  const copy = Buffer.from(bytes);
  copy[6] = ((copy[6] ?? 0) & 0x0f) | 0x40;
  copy[8] = ((copy[8] ?? 0) & 0x3f) | 0x80;
  return copy.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

function aesKey(password: string): Buffer {
  const key = Buffer.alloc(32);
  Buffer.from(password).copy(key);
  return key;
}

function decrypt(password: string, text: string): string {
  const bytes = Buffer.from(text, 'base64');
  try {
    const decipher = createDecipheriv('aes-256-cbc', aesKey(password), bytes.subarray(0, 16));
    return Buffer.concat([decipher.update(bytes.subarray(16)), decipher.final()]).toString('utf8');
  } catch {
    throw new FunctionError('cannot decrypt the text');
  }
}

const CLASSES: Readonly<Record<string, string>> = {
  V: 'AEIOU',
  C: 'BCDFGHJKLMNPQRSTVWXYZ',
  v: 'aeiou',
  c: 'bcdfghjklmnpqrstvwxyz',
  A: 'AEIOUBCDFGHJKLMNPQRSTVWXYZ',
  a: 'AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz',
  n: '0123456789',
  o: "@&%?,=[]_:-+*$#!'^~;()/.",
  x: 'AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()',
};
const TEMPLATES: Readonly<Record<string, readonly string[]>> = {
  maximum: ['anoxxxxxxxxxxxxxxxxx', 'axxxxxxxxxxxxxxxxxno'],
  long: [
    'CvcvnoCvcvCvcv',
    'CvcvCvcvnoCvcv',
    'CvcvCvcvCvcvno',
    'CvccnoCvcvCvcv',
    'CvccCvcvnoCvcv',
    'CvccCvcvCvcvno',
    'CvcvnoCvccCvcv',
    'CvcvCvccnoCvcv',
    'CvcvCvccCvcvno',
    'CvcvnoCvcvCvcc',
    'CvcvCvcvnoCvcc',
    'CvcvCvcvCvccno',
    'CvccnoCvccCvcv',
    'CvccCvccnoCvcv',
    'CvccCvccCvcvno',
    'CvcvnoCvccCvcc',
    'CvcvCvccnoCvcc',
    'CvcvCvccCvccno',
    'CvccnoCvcvCvcc',
    'CvccCvcvnoCvcc',
    'CvccCvcvCvccno',
  ],
  medium: ['CvcnoCvc', 'CvcCvcno'],
  short: ['Cvcn'],
  basic: ['aaanaaan', 'aannaaan', 'aaannaaa'],
  pin: ['nnnn'],
};

/** The Master Password algorithm. */
function derivePassword(counter: Int, type: string, password: string, user: string, site: string): string {
  const templates = Object.hasOwn(TEMPLATES, type) ? TEMPLATES[type] : undefined;
  if (templates === undefined) return `cannot find password template ${type}`;
  const scope = 'com.lyndir.masterpassword';
  const size = (text: string): Buffer => {
    const buffer = Buffer.alloc(4);
    buffer.writeUInt32BE(Buffer.byteLength(text));
    return buffer;
  };
  const salt = Buffer.concat([Buffer.from(scope), size(user), Buffer.from(user)]);
  const key = scryptSync(password, salt, 64, { N: 32768, r: 8, p: 2, maxmem: 128 * 1024 * 1024 });
  const count = Buffer.alloc(4);
  count.writeUInt32BE(Number(BigInt.asUintN(32, counter.value)));
  const seed = createHmac('sha256', key)
    .update(Buffer.concat([Buffer.from(scope), size(site), Buffer.from(site), count]))
    .digest();
  const template = templates[(seed[0] ?? 0) % templates.length] ?? '';
  return Array.from(template)
    .map((letter, index) => {
      const characters = CLASSES[letter] ?? '';
      return characters[(seed[index + 1] ?? 0) % characters.length] ?? '';
    })
    .join('');
}
