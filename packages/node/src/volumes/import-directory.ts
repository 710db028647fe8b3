import { chown, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from './error-code.ts';
import { ownFile } from './volume-files.ts';
import { IMPORT_DIRECTORY } from './volume-record.ts';

/** Directory in that of a volume for a data mover's scratch files, owned by it. */
export async function importDirectory(volumeDirectory: string, uid: number): Promise<string> {
  const directory = join(volumeDirectory, IMPORT_DIRECTORY);
  await mkdir(directory, { mode: 0o700 }).catch((error: unknown) => {
    if (codeOf(error) !== 'EEXIST') throw error;
  });
  for (const name of await readdir(directory)) await ownFile(join(directory, name), uid);
  await chown(directory, uid, uid);
  return directory;
}

/** Removes what a data mover left of its transfer, after which nothing of it is wanted. */
export async function removeImportDirectory(volumeDirectory: string): Promise<void> {
  await rm(join(volumeDirectory, IMPORT_DIRECTORY), { recursive: true, force: true });
}
