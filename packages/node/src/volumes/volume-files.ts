import { constants } from 'node:fs';
import { chmod, chown, lchown, link, lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from './error-code.ts';
import { VolumeError } from './volume-error.ts';

/** A directory of root with exactly this mode. Throws when something else has the name. */
export async function makeDirectory(path: string, mode: number): Promise<void> {
  await mkdir(path, { recursive: true, mode });
  const found = await lstat(path);
  if (!found.isDirectory()) throw new VolumeError('InvalidVolume', `${path} is not a directory`);
  await chmod(path, mode);
}

/** A directory of a pod, and one in it, that root alone can change and the sandbox alone can look into. */
export async function sandboxDirectory(root: string, name: string, { uid }: { readonly uid: number }): Promise<string> {
  const directory = join(root, name);
  for (const path of [root, directory]) {
    await makeDirectory(path, 0o710);
    await chown(path, 0, uid);
  }
  return directory;
}

/** Replaces the file so that a crash leaves the old or the new text. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

/** A new file of one hole. */
export async function makeHole(path: string, sizeBytes: number): Promise<void> {
  const file = await open(path, 'wx', 0o644);
  try {
    await file.truncate(sizeBytes);
  } finally {
    await file.close();
  }
}

/** Cuts or grows a raw disk. */
export async function resizeRaw(path: string, sizeBytes: number): Promise<void> {
  const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    await file.truncate(sizeBytes);
  } finally {
    await file.close();
  }
}

/** Whether something has this name. */
export const exists = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  );

/** Makes `to` another name of `from`, whatever it was. */
export async function relink(from: string, to: string): Promise<void> {
  await rm(to, { force: true });
  await link(from, to);
}

/** By descriptor, and regular files with one name only: the directory belongs to a process that is not trusted. */
export async function ownFile(path: string, uid: number): Promise<void> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(() => undefined);
  try {
    const found = await file?.stat();
    if (found?.isFile() && found.nlink === 1) await file?.chown(uid, uid);
  } finally {
    await file?.close();
  }
}

/**
 * Gives a whole tree to a user, the top last: a tree whose top has its owner has been given entirely. Nobody may be using
 * it, for its names are trusted meanwhile.
 */
export async function ownDirectory(path: string, uid: number): Promise<string> {
  await mkdir(path, { mode: 0o700 }).catch((error: unknown) => {
    if (codeOf(error) !== 'EEXIST') throw error;
  });
  const top = await lstat(path);
  if (!top.isDirectory()) throw new VolumeError('InvalidVolume', `${path} is not a directory`);
  if (top.uid === uid) return path;
  for (const entry of await readdir(path, { withFileTypes: true, recursive: true }))
    await lchown(join(entry.parentPath, entry.name), uid, uid);
  await lchown(path, uid, uid);
  return path;
}

/** Takes a file away from whoever wrote it: from now on it is a layer. */
export async function seal(path: string): Promise<void> {
  await chown(path, 0, 0);
  await chmod(path, 0o444);
}

/** A second name, unless an earlier attempt made it. Throws when another file has the name. */
export async function linkOnce(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST' || (await lstat(from)).ino !== (await lstat(to)).ino) throw error;
  }
}

/** Makes the names in a directory survive a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
