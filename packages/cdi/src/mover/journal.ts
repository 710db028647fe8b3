import { open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { FileVersion } from './download.ts';

/** Where a transfer stands; written only after the bytes it speaks of are on disk. */
export interface Journal {
  /** Digest of what was asked for: another request starts from the beginning. */
  readonly request: string;
  readonly version: FileVersion;
  /** `target`: received bytes are the disk itself. `scratch`: they are kept in the scratch file. */
  readonly layout: 'target' | 'scratch';
  /** Bytes from the beginning that are on disk. */
  readonly bytes: number;
}

const NAME = 'journal.json';

/** Undefined when there is none, or none that can be read. */
export async function readJournal(workDir: string): Promise<Journal | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(join(workDir, NAME), 'utf8'));
    return isJournal(value) ? value : undefined;
  } catch {
    return undefined; // absent or torn: the transfer starts from the beginning
  }
}

export async function writeJournal(workDir: string, journal: Journal): Promise<void> {
  const temporary = join(workDir, `${NAME}.new`);
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(JSON.stringify(journal));
    await file.datasync();
  } finally {
    await file.close();
  }
  await rename(temporary, join(workDir, NAME));
}

export async function removeJournal(workDir: string): Promise<void> {
  await rm(join(workDir, NAME), { force: true });
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
