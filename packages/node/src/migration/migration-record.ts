import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isObject } from '@slipway/apimachinery';
import { writeFileAtomic } from '@slipway/hostapi';
import type { OfferedDisk, Sandbox } from '../contracts.ts';

/** Where a guest went. */
export interface MovedTo {
  readonly node: string;
  readonly podUid: string;
  /** Addresses by which that node is reached. */
  readonly link: readonly string[];
}

/** One migration as its source's sandbox keeps it: what was agreed, and the decision of ADR 0017. */
export interface MigrationRecord {
  readonly migration: string;
  readonly target: MovedTo;
  readonly disks: readonly OfferedDisk[];
  /** This guest will never run here again. */
  readonly isGiven: boolean;
  /** The guest stood still because somebody wanted that. */
  readonly isPaused: boolean;
}

/** In a directory of root's: the guest's user cannot change it. */
const FILE = 'migration.json';

/** What is known of the last migration from this sandbox. */
export async function readMigrationRecord({ dir }: Sandbox): Promise<MigrationRecord | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(join(dir, FILE), 'utf8'));
    // written by `writeMigrationRecord` and by nobody else
    return isObject(value) ? (value as unknown as MigrationRecord) : undefined;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Survives a crash once it resolves. */
export async function writeMigrationRecord({ dir }: Sandbox, record: MigrationRecord): Promise<void> {
  await writeFileAtomic(join(dir, FILE), `${JSON.stringify(record)}\n`);
}
