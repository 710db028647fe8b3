import { type Dirent } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Bytes that a volume's files take, and each file once. */
export interface Usage {
  readonly byVolume: ReadonlyMap<string, number>;
  readonly totalBytes: number;
}

const BLOCK_BYTES = 512;

/**
 * What the files of a pool take of its file system. A layer counts once for the pool, and for each volume that reads it.
 */
export async function usageOf(root: string): Promise<Usage> {
  const seen = new Map<number, number>();
  const byVolume = new Map<string, number>();
  for (const volume of await entries(join(root, 'volumes'))) {
    const files = await filesBelow(join(root, 'volumes', volume.name));
    for (const [inode, bytes] of files) seen.set(inode, bytes);
    byVolume.set(
      volume.name,
      [...files.values()].reduce((sum, bytes) => sum + bytes, 0),
    );
  }
  return { byVolume, totalBytes: [...seen.values()].reduce((sum, bytes) => sum + bytes, 0) };
}

/** Bytes by inode. Files come and go meanwhile. */
async function filesBelow(directory: string): Promise<ReadonlyMap<number, number>> {
  const found = new Map<number, number>();
  for (const entry of await entries(directory)) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) for (const [inode, bytes] of await filesBelow(path)) found.set(inode, bytes);
    else if (entry.isFile()) {
      const stat = await lstat(path).catch(() => undefined);
      if (stat !== undefined) found.set(stat.ino, stat.blocks * BLOCK_BYTES);
    }
  }
  return found;
}

async function entries(directory: string): Promise<readonly Dirent[]> {
  return readdir(directory, { withFileTypes: true }).catch(() => []);
}
