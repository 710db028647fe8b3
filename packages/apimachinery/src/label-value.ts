import { createHash } from 'node:crypto';

const MAX_LABEL = 63;

/** An object's name as the value of a label: what is too long is cut and ends in a hash, so that it stays unique. */
export function labelValue(name: string): string {
  if (name.length <= MAX_LABEL) return name;
  return `${name.slice(0, 54)}-${createHash('sha1').update(name).digest('hex').slice(0, 8)}`;
}
