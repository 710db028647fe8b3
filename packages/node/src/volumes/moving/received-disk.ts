import { chown, lstat, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { PreparedVolume, Sandbox } from '../../contracts.ts';
import { codeOf } from '../error-code.ts';
import { makeHole, writeDurably } from '../volume-files.ts';
import { DISK_NAME } from '../volume-record.ts';

/** In the directory of a pod's volume: its content came with the guest, whatever the VMI makes such volumes from. */
const MARK = 'received.json';

export interface ReceivedMark {
  readonly sizeBytes: number;
  readonly claim?: NonNullable<PreparedVolume['claim']>;
  /** The content is in this claim, whatever claim the VMI names: it took its place while the guest ran. */
  readonly isClaim?: boolean;
}

export const forgetMark = (directory: string): Promise<void> => rm(join(directory, MARK), { force: true });

/** Undefined when the volume was made on this node. */
export async function readMark(directory: string): Promise<ReceivedMark | undefined> {
  try {
    return JSON.parse(await readFile(join(directory, MARK), 'utf8')) as ReceivedMark; // in a directory that root alone writes
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

export const writeMark = (directory: string, mark: ReceivedMark): Promise<void> =>
  writeDurably(join(directory, MARK), JSON.stringify(mark));

/** An empty disk of the pod's own; one that is there already stays as it is. */
export async function makeReceivedDisk(directory: string, mark: ReceivedMark, { uid }: Sandbox): Promise<void> {
  const path = join(directory, DISK_NAME);
  if ((await lstat(path).catch(() => undefined))?.size !== mark.sizeBytes) {
    await rm(path, { force: true });
    await makeHole(path, mark.sizeBytes);
  }
  await chown(path, uid, uid);
  await writeMark(directory, mark);
}

/** A disk of the pod's own that came with the guest; undefined when there is none in the directory. */
export async function receivedDisk(directory: string): Promise<Omit<PreparedVolume, 'name'> | undefined> {
  const mark = await readMark(directory);
  if (mark === undefined || mark.isClaim) return undefined;
  const { sizeBytes, claim } = mark;
  return { path: join(directory, DISK_NAME), format: 'raw', readOnly: false, sizeBytes, ...(claim && { claim }) };
}

/** The claim of the guest's disk: that which the VMI names, unless another has taken its place. */
export const claimInPlace = async (directory: string, named: string): Promise<string> =>
  (await readMark(directory))?.claim?.claimName ?? named;
