const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';
const MAX_PREFIX = 58;

/** `prefix` (cut to 58 characters) and five characters that spell no words. */
export function generateName(prefix: string, random: (limit: number) => number): string {
  let suffix = '';
  for (let i = 0; i < 5; i++) suffix += ALPHABET[random(ALPHABET.length)];
  return prefix.slice(0, MAX_PREFIX) + suffix;
}
