/** On a Node: what its agent says of the directories in which it keeps volumes, as JSON. */
export const STORAGE_POOLS_ANNOTATION = 'slipway.dev/storage-pools';

/** One directory of volumes of a node. */
export interface StoragePoolReport {
  /** Empty for the node's own directory. */
  readonly name: string;
  readonly path: string;
  /** Why no volume can be made there, and what to do. */
  readonly problem?: string;
  /** Size of the file system. */
  readonly totalBytes: number;
  /** What is left of it. */
  readonly freeBytes: number;
  /** What all claims together may still come to need: the sum of their sizes. */
  readonly promisedBytes: number;
  /** What the files of the volumes take now. */
  readonly usedBytes: number;
  readonly volumes: number;
  /** The file system is also that of the system itself. */
  readonly isSharedWithSystem: boolean;
}

/** Reads what `STORAGE_POOLS_ANNOTATION` holds; anything else is as if nothing was said. */
export function parsePoolReports(text: string | undefined): readonly StoragePoolReport[] {
  if (text === undefined) return [];
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value.filter(isReport) : [];
  } catch {
    return [];
  }
}

const NUMBERS = ['totalBytes', 'freeBytes', 'promisedBytes', 'usedBytes', 'volumes'];

const isReport = (value: unknown): value is StoragePoolReport =>
  typeof value === 'object' &&
  value !== null &&
  ['name', 'path'].every((key) => typeof Reflect.get(value, key) === 'string') &&
  ['string', 'undefined'].includes(typeof Reflect.get(value, 'problem')) &&
  NUMBERS.every((key) => Number.isSafeInteger(Reflect.get(value, key)));
