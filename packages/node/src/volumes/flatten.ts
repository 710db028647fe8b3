import { chmod, chown, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { QemuImg } from './qemu-img.ts';
import { VolumeError } from './volume-error.ts';
import { makeHole, syncDirectory } from './volume-files.ts';
import { DISK_NAME, type Layer } from './volume-record.ts';

export interface FlattenTask {
  /** Gets the disk. */
  readonly directory: string;
  /** Holds the layers by their names; it is gone afterwards when it is another directory. */
  readonly from: string;
  /** Top first. */
  readonly chain: readonly Layer[];
  readonly sizeBytes: number;
  readonly qemuImg: Pick<QemuImg, 'flatten'>;
  readonly toolUid?: number | undefined;
}

/**
 * Writes what the layers show into a disk of the directory's own, and lets go of them. The images are a guest's work:
 * whoever opens them has the rights of nobody. Repeatable after a crash.
 */
export async function flattenInto(
  { directory, from, chain, sizeBytes, qemuImg, toolUid: uid }: FlattenTask,
  signal: AbortSignal,
): Promise<void> {
  if (uid === undefined) throw new VolumeError('CloneValidationFailed', 'This node has no user that could copy images');
  const target = join(directory, `${DISK_NAME}.new`);
  await rm(target, { force: true });
  await makeHole(target, sizeBytes);
  try {
    await chown(target, uid, uid);
    for (const entered of new Set([directory, from])) {
      await chown(entered, 0, uid);
      await chmod(entered, 0o710);
    }
    const images = chain.map(({ name, format }) => ({ path: join(from, name), format }));
    await qemuImg.flatten({ chain: images, target, uid }, signal);
    await chown(target, 0, 0);
    await rename(target, join(directory, DISK_NAME));
  } finally {
    await rm(target, { force: true });
    await chown(directory, 0, 0);
    await chmod(directory, 0o700);
    for (const { name } of chain) await rm(join(from, name), { force: true });
    if (from !== directory) await rm(from, { recursive: true, force: true });
  }
  await syncDirectory(directory);
}
