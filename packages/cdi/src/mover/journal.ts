import { open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FileVersion } from './download.ts';

/** Where a transfer stands; written only after the bytes it speaks of are in their file. */
export interface Journal {
  /** Digest of what was asked for: another request starts from the beginning. */
  readonly request: string;
  readonly version: FileVersion;
  /** `target`: received bytes are the disk itself. `scratch`: they are kept in the scratch file. */
  readonly layout: 'target' | 'scratch';
  /** Bytes from the beginning that are there. */
  readonly bytes: number;
}

/** An entry about bytes on disk, which a loss of power leaves there. */
const DURABLE = 'journal.json';
/**
 * A newer entry about bytes that may still be in the page cache: they survive every process, but not the machine. It is
 * cheap, so it is written often, and counts for the boot that it names.
 */
const PRESENT = 'position.json';

/** Undefined when there is none, or none that can be read. */
export async function readJournal(workDir: string, bootId: string): Promise<Journal | undefined> {
  const present = await read(join(workDir, PRESENT));
  return present?.bootId === bootId ? present : read(join(workDir, DURABLE));
}

async function read(path: string): Promise<(Journal & { readonly bootId?: string }) | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    return isJournal(value) ? value : undefined;
  } catch {
    return undefined; // absent or torn: an older entry counts, or the transfer starts from the beginning
  }
}

/** For bytes that are on disk. */
export async function writeJournal(workDir: string, journal: Journal): Promise<void> {
  const temporary = join(workDir, `${DURABLE}.new`);
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(JSON.stringify(journal));
    await file.datasync();
  } finally {
    await file.close();
  }
  await rename(temporary, join(workDir, DURABLE));
}

/** For bytes that were written, whether or not they are on disk yet. */
export async function notePosition(workDir: string, journal: Journal, bootId: string): Promise<void> {
  const temporary = join(workDir, `${PRESENT}.new`);
  await writeFile(temporary, JSON.stringify({ ...journal, bootId }), { mode: 0o600 });
  await rename(temporary, join(workDir, PRESENT));
}

export async function removeJournal(workDir: string): Promise<void> {
  await rm(join(workDir, PRESENT), { force: true });
  await rm(join(workDir, DURABLE), { force: true });
}

function isJournal(value: unknown): value is Journal {
  if (typeof value !== 'object' || value === null) return false;
  const journal = value as Partial<Journal>; // each field is checked below
  return (
    typeof journal.request === 'string' &&
    typeof journal.version === 'object' &&
    (journal.layout === 'target' || journal.layout === 'scratch') &&
    typeof journal.bytes === 'number' &&
    journal.bytes > 0
  );
}
