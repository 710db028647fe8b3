import { define, type FunctionTable } from '../template/functions.ts';
import { FunctionError } from '../template/functions.ts';
import { type Value } from '../template/values.ts';
import type { Budget } from '../template/budget.ts';
import { type FunctionSources, hashHex } from './context.ts';
import { goJson, readJson } from './json.ts';

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

function base32(bytes: Uint8Array): string {
  let [out, bits, value] = ['', 0, 0];
  for (const byte of bytes) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) out += BASE32[(value >> (bits - 5)) & 31] ?? '';
    value &= (1 << bits) - 1;
  }
  if (bits > 0) out += BASE32[(value << (5 - bits)) & 31] ?? '';
  return out.padEnd(Math.ceil(out.length / 8) * 8, '=');
}

function fromBase32(text: string): string {
  const bytes: number[] = [];
  let [bits, value] = [0, 0];
  const clean = text.replace(/[\r\n]/g, '').replace(/=+$/, '');
  for (const [index, char] of Array.from(clean).entries()) {
    const digit = BASE32.indexOf(char);
    if (digit === -1) return `illegal base32 data at input byte ${index}`;
    value = (value << 5) | digit;
    bits += 5;
    if (bits >= 8) bytes.push((value >> (bits -= 8)) & 255);
    value &= (1 << bits) - 1;
  }
  return Buffer.from(bytes).toString('utf8');
}

function fromBase64(text: string): string {
  const clean = text.replace(/[\r\n]/g, '');
  const bad = /[^A-Za-z0-9+/=]/.exec(clean)?.index ?? (clean.length % 4 === 0 ? /=(?!=?$)/.exec(clean)?.index : clean.length);
  return bad === undefined ? Buffer.from(clean, 'base64').toString('utf8') : `illegal base64 data at input byte ${bad}`;
}

function adler32(text: string): string {
  let [a, b] = [1, 0];
  for (const byte of Buffer.from(text)) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return String(b * 65536 + a);
}

/** Sprig's encodings, hashes and JSON. */
export function encodingFunctions({ budget }: FunctionSources): FunctionTable {
  return {
    b64enc: define('string', (text: string) => Buffer.from(text).toString('base64')),
    b64dec: define('string', fromBase64),
    b32enc: define('string', (text: string) => base32(Buffer.from(text))),
    b32dec: define('string', fromBase32),
    sha1sum: define('string', (text: string) => hashHex('sha1', text)),
    sha256sum: define('string', (text: string) => hashHex('sha256', text)),
    sha512sum: define('string', (text: string) => hashHex('sha512', text)),
    adler32sum: define('string', adler32),
    ...jsonFunctions(budget),
  };
}

function jsonFunctions(budget: Budget): FunctionTable {
  const written = (escapesHtml: boolean, indent?: string) =>
    define('any', (value: Value) => goJson(value, budget, { escapesHtml, indent }));
  const [plain, pretty, raw] = [written(true), written(true, '  '), written(false)];
  return {
    toJson: plain,
    mustToJson: plain,
    toPrettyJson: pretty,
    mustToPrettyJson: pretty,
    toRawJson: raw,
    mustToRawJson: raw,
    mustFromJson: define('string', (text: string) => {
      const read = readJson(text);
      if ('complaint' in read) throw new FunctionError(read.complaint);
      return read.value;
    }),
  };
}
