import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type FileHolder, fileIdentity, openFiles } from '@slipway/hostapi';
import { VolumeError } from './volume-error.ts';
import { type Attachment, DISK_NAME, type VolumeRecord } from './volume-record.ts';
import { nameOf, writersOf } from './writers.ts';

export interface LeftWriters {
  readonly directory: string;
  readonly record: VolumeRecord;
  /** Who wants the disk. */
  readonly attachment: Attachment;
  /** Who keeps it. */
  readonly others: readonly Attachment[];
}

/**
 * Throws `VolumeInUse` when the object of a pod that had the disk is gone and a process of it still writes: an object
 * that was deleted by force says nothing about the host.
 */
export async function checkNothingLeft({ directory, record, attachment, others }: LeftWriters): Promise<void> {
  const known = [attachment, ...others];
  const forgotten = writersOf(record).filter(({ podUid }) => !known.some((one) => one.podUid === podUid));
  if (forgotten.length === 0) return;
  const names = [DISK_NAME, record.active, record.pivot?.active].filter((name) => name !== undefined);
  const left = await leftWriter(
    names.map((name) => join(directory, name)),
    new Set(known.map(({ uid }) => uid)),
  );
  if (left === undefined) return;
  const [first] = forgotten;
  throw new VolumeError(
    'VolumeInUse',
    `Volume is already used by process ${left.pid} (${left.program}) of ${first && nameOf(first)}, which is gone: it is being ended`,
  );
}

/** A process that writes one of the files, root's and those of the users left out. */
async function leftWriter(paths: readonly string[], uids: ReadonlySet<number>): Promise<FileHolder | undefined> {
  const found = await Promise.all(
    paths.map((path) =>
      stat(path).then(
        (file) => [fileIdentity(file)],
        () => [], // that one is not there
      ),
    ),
  );
  const holders = [...(await openFiles(new Set(found.flat()))).values()].flat();
  return holders.find(({ isWritable, uid }) => isWritable && uid !== 0 && !uids.has(uid));
}
