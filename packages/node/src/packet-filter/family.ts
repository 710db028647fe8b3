import { createHash } from 'node:crypto';

/** Whether an address or network is of this family. */
export const isOf =
  (family: 4 | 6) =>
  (address: string): boolean =>
    address.includes(':') === (family === 6);

/** Twelve characters for the names of chains and sets, which may not hold what names of objects hold. */
export const nameHash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 12);
