import { constants, createWriteStream } from 'node:fs';
import { chmod, link, lstat, mkdir, readdir, rm, symlink } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { codeOf, explainWriteError, ImportError } from './import-error.ts';
import { explainTarError, type TarEntry, tarEntries } from './tar-entries.ts';

/** Members of an archive and directories that they need; each costs an inode of the node's file system. */
const MAX_ENTRIES = 1_000_000;
const MAX_PATH = 4096;
const MAX_NAME = 255;
/** Nothing of a stranger becomes setuid, setgid or sticky. */
const MODE = 0o777;

export interface ArchiveLimits {
  /** Bytes of all files together. */
  readonly maxBytes: number;
}

/**
 * Unpacks a tar archive into an empty directory that nobody else uses. Every member must lie within: absolute names, `..`,
 * links that lead out, names below links, devices, pipes and sockets are refused, and nothing is followed. Throws
 * ImportError; what was unpacked by then is the caller's to remove.
 */
export async function unpackArchive(
  tar: AsyncIterable<Buffer>,
  directory: string,
  limits: ArchiveLimits,
  signal: AbortSignal,
): Promise<void> {
  const state = { directory, left: limits.maxBytes, entries: 0, modes: [] as [string, number][] };
  try {
    for await (const entry of tarEntries(tar)) {
      signal.throwIfAborted();
      count(state);
      await place(entry, state, limits, signal);
    }
  } catch (error) {
    throw explainWriteError(explainTarError(error));
  }
  if (state.entries === 0) throw invalid('is empty');
  // innermost first: a directory that may not be written could take no files before
  for (const [path, mode] of state.modes.reverse()) await chmod(path, mode);
}

function count(state: State): void {
  if (++state.entries > MAX_ENTRIES) throw invalid(`holds more than ${MAX_ENTRIES} files`);
}

interface State {
  readonly directory: string;
  left: number;
  entries: number;
  readonly modes: [string, number][];
}

async function place(entry: TarEntry, state: State, { maxBytes }: ArchiveLimits, signal: AbortSignal): Promise<void> {
  const { name, type, linkname, mode, size } = entry.header;
  const path = await within(name, state);
  switch (type) {
    case 'directory':
      if (path !== state.directory) await makeDirectory(path, state);
      state.modes.push([path, (mode & MODE) | 0o700]);
      break;
    case 'file':
    case 'contiguous-file':
      state.left -= size;
      if (state.left < 0)
        throw new ImportError(
          'ImageTooLarge',
          `the files of the archive are larger than the reported available storage ${maxBytes}. A larger PVC is required`,
        );
      await rm(path, { force: true });
      await pipeline(entry, createWriteStream(path, { flags: 'wx', mode: mode & MODE }), { signal });
      return;
    case 'symlink':
      checkLink(name, linkname ?? '');
      await rm(path, { force: true });
      await symlink(linkname ?? '', path);
      break;
    case 'link':
      await rm(path, { force: true });
      await link(await linkedFile(name, linkname ?? '', state), path);
      break;
    default:
      throw invalid(`holds ${name}, which is neither a file, a directory nor a link (${type})`);
  }
  entry.resume();
}

/** The place of a member, below real directories alone, which are made where the archive left them out. */
async function within(name: string, state: State): Promise<string> {
  const parts = partsOf(name);
  let parent = state.directory;
  for (const part of parts.slice(0, -1)) {
    parent = join(parent, part);
    await makeDirectory(parent, state);
  }
  const last = parts.at(-1);
  return last === undefined ? state.directory : join(parent, last);
}

function partsOf(name: string): readonly string[] {
  if (name.startsWith('/')) throw invalid(`holds the absolute name ${name}`);
  if (name.length > MAX_PATH || name.includes('\0')) throw invalid('holds a name that no file can have');
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw invalid(`holds ${name}, which leads out of it`);
  if (parts.some((part) => Buffer.byteLength(part) > MAX_NAME)) throw invalid('holds a name that no file can have');
  return parts;
}

async function makeDirectory(path: string, state: State): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
    count(state);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
    if (!(await lstat(path)).isDirectory()) throw invalid('uses a link or a file as a directory');
  }
}

/** A target may go up at its start alone: what stands after a name may be a link, and ".." leads up from its end. */
const CLIMBS_LATER = /(?:^|\/)(?!\.{1,2}(?:\/|$))[^/]+\/(?:.*\/)?\.\.(?:\/|$)/;

function checkLink(name: string, target: string): void {
  const resolved = posix.normalize(posix.join(dirname(name), target));
  if (target === '' || target.includes('\0') || target.length > MAX_PATH) throw invalid(`holds the broken link ${name}`);
  if (target.startsWith('/') || resolved === '..' || resolved.startsWith('../') || CLIMBS_LATER.test(target))
    throw invalid(`holds the link ${name}, which leads out of it to ${target}`);
}

/** A hard link is another name of a file that came before. */
async function linkedFile(name: string, target: string, state: State): Promise<string> {
  const path = await within(target, state);
  const found = await lstat(path).catch(() => undefined);
  if (!found?.isFile()) throw invalid(`holds the link ${name} to ${target}, which is no file of it`);
  return path;
}

const invalid = (what: string): ImportError => new ImportError('InvalidImage', `The archive ${what}`);

/** Removes everything in a directory, also what its modes protect from its owner. */
export async function emptyTree(directory: string): Promise<void> {
  for (const name of await readdir(directory).catch(() => [])) {
    const path = join(directory, name);
    await openUp(path);
    await rm(path, { recursive: true, force: true });
  }
}

async function openUp(path: string): Promise<void> {
  if (!(await lstat(path)).isDirectory()) return;
  await chmod(path, constants.S_IRWXU);
  for (const name of await readdir(path)) await openUp(join(path, name));
}
