import { lstat, mkdir, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { VolumeError } from '../volume-error.ts';
import { exists } from '../volume-files.ts';

const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;
const ENTERED_BY_ALL = 0o001;

/**
 * Makes the directory of a pool when it is missing. Throws unless nobody but root can put something else in its place, and
 * everybody can go through: data movers are ordinary users.
 */
export async function checkPlace(path: string): Promise<void> {
  if (!(await exists(path))) {
    await checkParents(await existingParent(path));
    await mkdir(path, { recursive: true, mode: 0o755 });
  }
  await checkParents(path);
  if (!(await lstat(path)).isDirectory()) throw new VolumeError('PoolNotReady', `${path} is not a directory`);
}

async function existingParent(path: string): Promise<string> {
  return (await exists(path)) ? path : existingParent(dirname(path));
}

async function checkParents(path: string): Promise<void> {
  const target = await realpath(path);
  if (target !== path) throw new VolumeError('PoolNotReady', `${path} is a link: name ${target} itself`);
  for (let directory = path; ; directory = dirname(directory)) {
    const { uid, mode } = await lstat(directory);
    if (uid !== 0 || ((mode & WRITABLE_BY_OTHERS) !== 0 && (mode & STICKY) === 0))
      throw new VolumeError(
        'PoolNotReady',
        `${directory} can be changed by others than root: run chown root:root ${directory} and chmod go-w ${directory}`,
      );
    if ((mode & ENTERED_BY_ALL) === 0)
      throw new VolumeError('PoolNotReady', `${directory} cannot be entered by data movers: run chmod o+x ${directory}`);
    if (directory === '/') return;
  }
}
