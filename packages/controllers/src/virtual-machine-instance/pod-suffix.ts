import { createHash } from 'node:crypto';

const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';

/** End of a launcher pod's name: the same for the same uid, so that a repeated create cannot make a second pod. */
export function podSuffix(uid: string): string {
  const digest = createHash('sha256').update(uid).digest();
  return [...digest.subarray(0, 5)].map((byte) => ALPHABET[byte % ALPHABET.length]).join('');
}
