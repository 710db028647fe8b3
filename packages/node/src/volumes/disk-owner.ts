import { chmod, chown } from 'node:fs/promises';
import { join } from 'node:path';
import { activeName, type VolumeRecord } from './volume-record.ts';

/** Makes a user the one that writes the disk in this directory; root: nobody. */
export async function giveDisk(directory: string, record: VolumeRecord, uid: number): Promise<void> {
  const disk = join(directory, activeName(record));
  const { heir } = record;
  // the guest's next QEMU opens the disk before it may write
  await chown(disk, uid, heir?.uid ?? uid);
  await chmod(disk, heir === undefined ? 0o644 : 0o640);
  await chown(directory, 0, uid);
  await chmod(directory, heir === undefined ? (uid === 0 ? 0o700 : 0o710) : 0o711);
}

/** Everybody may write the file, and nobody finds it but through the links in directories of the pods that share it. */
export async function shareDisk(directory: string, record: VolumeRecord): Promise<void> {
  await giveDisk(directory, record, 0);
  await chmod(join(directory, activeName(record)), 0o666);
}
