import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { measure } from './watched.ts';

const run = promisify(execFile);

/** What `qemu-img` needs for the same on a disk that nobody uses. */
export interface CopyFloor {
  /** Seconds for an internal snapshot. */
  snapshot(): Promise<number>;
  /** Seconds to put the disk back to the last snapshot. */
  restore(): Promise<number>;
  /** Seconds for an overlay of the image. */
  overlay(): Promise<number>;
}

/** Works on an overlay of the image in a directory of its own. */
export async function copyFloor(directory: string, image: string): Promise<CopyFloor> {
  let count = 0;
  const overlayOf = async (name: string): Promise<string> => {
    const path = join(directory, `${name}.qcow2`);
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', image, path]);
    return path;
  };
  const disk = await overlayOf('copies');
  return {
    snapshot: () => measure(() => run('qemu-img', ['snapshot', '-c', `s${++count}`, disk])),
    restore: () => measure(() => run('qemu-img', ['snapshot', '-a', `s${count}`, disk])),
    overlay: () => measure(() => overlayOf(`overlay-${++count}`)),
  };
}
