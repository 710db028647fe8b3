import { constants, createReadStream } from 'node:fs';
import { open, realpath, stat } from 'node:fs/promises';
import { join, resolve, sep } from 'node:path';
import { importImageFiles } from './image-archive.ts';
import { codeOf, ImportError } from './import-error.ts';
import { ingest, type IngestDeps } from './ingest.ts';
import type { RegistryImportResult } from './registry-import.ts';

const SCHEME = /^oci-archive:/;

/** True for the image of a file or a directory of the node. */
export const isLocalImage = (reference: string): boolean => SCHEME.test(reference);

export interface LocalImageDeps extends IngestDeps {
  /** Directories of the node that an administrator opened for imports. */
  readonly allowedDirectories: readonly string[];
}

/**
 * Imports the disk of a containerDisk that lies on the node: an archive, or the directory of an OCI image layout. Throws
 * ImportError for everything outside of the directories that an administrator named, whether it exists or not.
 */
export async function importLocalImage(
  reference: string,
  deps: LocalImageDeps,
  signal: AbortSignal,
): Promise<RegistryImportResult> {
  const path = await allowedPath(reference.replace(SCHEME, '').replace(/^\/\/(?=\/)/, ''), deps.allowedDirectories);
  if ((await stat(path)).isDirectory()) return importImageFiles((name) => fileIn(path, name), deps, signal);
  return { ...(await ingest(createReadStream(path), deps, signal)), imageDigest: '' };
}

async function allowedPath(text: string, directories: readonly string[]): Promise<string> {
  const wanted = resolve('/', text);
  // by its name first, so that nobody learns which files the node has
  if (!directories.some((directory) => isBelow(wanted, resolve('/', directory)))) throw refused(text);
  try {
    const path = await realpath(wanted);
    const roots = await Promise.all(directories.map((directory) => realpath(directory).catch(() => undefined)));
    if (!roots.some((root) => root !== undefined && isBelow(path, root))) throw refused(text);
    return path;
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    throw unreadable(text, error);
  }
}

const isBelow = (path: string, directory: string): boolean =>
  path === directory || path.startsWith(directory.endsWith(sep) ? directory : directory + sep);

/** A file of a layout, whose directory is the administrator's: links are not followed all the same. */
async function fileIn(directory: string, name: string): Promise<AsyncIterable<Buffer> | undefined> {
  try {
    const file = await open(join(directory, name), constants.O_RDONLY | constants.O_NOFOLLOW);
    return file.createReadStream() as AsyncIterable<Buffer>;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw unreadable(name, error);
  }
}

const refused = (path: string): ImportError =>
  new ImportError(
    'SourceRefused',
    `Failed to pull image: ${path} lies in no directory of the node that imports may read. An administrator can name its ` +
      'directory in annotation slipway.dev/allowed-import-directories of CDIConfig "config"',
  );

const unreadable = (path: string, cause: unknown): ImportError =>
  new ImportError(
    'SourceNotFound',
    `Failed to pull image: ${path} cannot be read (${codeOf(cause)}). It has to be on the node of the import, and readable for everybody`,
    { cause },
  );
