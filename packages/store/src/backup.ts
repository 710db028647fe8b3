import { checkStore } from './check.ts';
import { loadStore } from './load.ts';
import { storeFiles, writeSnapshot } from './segments.ts';
import type { StoreFs } from './store-fs.ts';

/** Revisions left out by a restore: clients may have seen that many since the backup, and none may come twice. */
const REVISIONS_SKIPPED = 1_000_000;
const ATTEMPTS = 5;

export interface Copied {
  readonly entries: number;
  readonly revision: number;
}

/**
 * Copies the state of a store into an empty directory; the store may be open in another process, which goes on writing.
 * Every write that was acknowledged before the call is in the copy. Throws StoreCorruptError.
 */
export async function backupStore(source: StoreFs, target: StoreFs, nowMs: number): Promise<Copied> {
  await requireEmpty(target);
  const { entries, revision } = await loadWhileWritten(source);
  return write(target, revision, [...entries.values()], nowMs);
}

/**
 * Fills an empty directory from a backup, so that a store can be opened on it. The revision goes on above both the
 * backup's and `newestRevision`: resource versions never repeat, and watches from before are told to start anew.
 */
export async function restoreStore(
  backup: StoreFs,
  target: StoreFs,
  options: { readonly newestRevision: number; readonly nowMs: number },
): Promise<Copied> {
  await requireEmpty(target);
  const { entries, revision } = await loadStore(backup);
  if (revision === 0) throw new Error('The backup is empty: it holds no store file');
  const next = Math.max(revision, options.newestRevision) + REVISIONS_SKIPPED;
  return write(target, next, [...entries.values()], options.nowMs);
}

async function write(
  target: StoreFs,
  revision: number,
  entries: Parameters<typeof writeSnapshot>[2],
  nowMs: number,
): Promise<Copied> {
  await writeSnapshot(target, revision, entries, nowMs);
  const { problems } = await checkStore(target);
  if (problems.length > 0) throw new Error(`The copy does not read back: ${problems.join('; ')}`);
  return { entries: entries.length, revision };
}

async function requireEmpty(target: StoreFs): Promise<void> {
  if (storeFiles(await target.list()).length > 0)
    throw new Error('The target already holds store files; choose an empty directory');
}

/** The writer may remove a file between its listing and its reading; then there is a newer one. */
async function loadWhileWritten(source: StoreFs): ReturnType<typeof loadStore> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await loadStore(source);
    } catch (error) {
      const names = storeFiles(await source.list()).length;
      if (attempt === ATTEMPTS || names === 0) throw error;
    }
  }
}
