import { readdir, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from './error-code.ts';
import type { LayeredVolume } from './layer-store.ts';
import { exists, seal } from './volume-files.ts';
import { DISK_NAME, pivotedRecord, type VolumeRecord } from './volume-record.ts';

/**
 * After its guest has ended, the file that was written last becomes `disk.img` again. Of a snapshot that was cut off
 * midway the overlay is taken: over the old disk it shows everything, whichever of the two was written last.
 */
export async function settleVolume({ directory, record, write }: LayeredVolume): Promise<VolumeRecord> {
  const { pivot } = record;
  const hasOverlay = pivot !== undefined && (await exists(join(directory, pivot.active)));
  const { pivot: _, ...cutOff } = record;
  const rolled = hasOverlay ? pivotedRecord(record) : cutOff;
  if (hasOverlay) await seal(join(directory, pivot.layer));
  if (rolled.active === undefined) {
    if (pivot !== undefined) await write(rolled);
    return rolled;
  }
  // the record first: a crash in between leaves an active file that is there, or one that has its name already
  if (pivot !== undefined) await write(rolled);
  await rename(join(directory, rolled.active), join(directory, DISK_NAME)).catch((error: unknown) => {
    if (codeOf(error) !== 'ENOENT') throw error;
  });
  for (const name of await readdir(directory)) if (name.startsWith('live-')) await unlink(join(directory, name));
  const { active: __, ...settled } = rolled;
  await write(settled);
  return settled;
}
