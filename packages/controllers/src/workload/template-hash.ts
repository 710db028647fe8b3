import { createHash } from 'node:crypto';
import { canonicalJson } from '@slipway/apimachinery';

/** No vowels and no lookalikes, as generated names have it. */
const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';
const LENGTH = 10;

/** A short name for the content of a template; `collisionCount` makes another one after a collision. */
export function templateHash(template: unknown, collisionCount = 0): string {
  const digest = createHash('sha256')
    .update(`${canonicalJson(template)}#${collisionCount}`)
    .digest();
  return Array.from(digest.subarray(0, LENGTH), (byte) => ALPHABET.charAt(byte % ALPHABET.length)).join('');
}
