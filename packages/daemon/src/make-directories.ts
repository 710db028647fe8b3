import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a directory with those above it. Unlike Node's own recursive mkdir it ends in file systems where nobody can make
 * one, such as /proc. Throws an Error that names the path.
 */
export function makeDirectories(path: string, mode = 0o777): void {
  try {
    makeWithParents(path, mode);
  } catch (cause) {
    throw new Error(`Cannot make the directory ${path}`, { cause });
  }
}

function makeWithParents(path: string, mode: number): void {
  try {
    makeOne(path, mode);
  } catch (error) {
    const isParentMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT' && dirname(path) !== path;
    if (!isParentMissing) throw error;
    makeWithParents(dirname(path), mode);
    makeOne(path, mode);
  }
}

/** Another process may have been quicker. */
function makeOne(path: string, mode: number): void {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) throw error;
  }
}
