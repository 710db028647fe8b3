import { open, readFile } from 'node:fs/promises';
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

/** What both sides of a migration have agreed on. */
export interface Agreement {
  readonly migration: string;
  readonly target: MovedTo;
  readonly disks: readonly OfferedDisk[];
}

/** One migration as its source's sandbox keeps it: what was agreed, and the decision of ADR 0017. */
export interface MigrationRecord extends Agreement {
  /** This guest will never run here again. */
  readonly isGiven: boolean;
  /** The guest stood still because somebody wanted that. */
  readonly isPaused: boolean;
}

/** In a directory of root's: the guest's user cannot change it. */
const FILE = 'migration.json';
const DECISIONS = { agreed: 'agreed', given: 'given', paused: 'given paused' } as const;
type Decided = (typeof DECISIONS)[keyof typeof DECISIONS];
/** What the file begins with; the decision follows, always as long, within the first sector. */
const BEFORE_DECISION = '{"decision":"';
const DECISION_LENGTH = DECISIONS.paused.length;

const padded = (decision: Decided): string => decision.padEnd(DECISION_LENGTH);

/** What is known of the last migration from this sandbox. */
export async function readMigrationRecord({ dir }: Sandbox): Promise<MigrationRecord | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(join(dir, FILE), 'utf8'));
    if (!isObject(value)) return undefined;
    const { decision, ...agreement } = value;
    // written by `writeAgreement` and by nobody else, unless by an agent before it, which named both facts
    if (decision === undefined) return agreement as unknown as MigrationRecord;
    const decided = readDecision(decision);
    // likewise
    return { ...(agreement as unknown as Agreement), isGiven: decided !== 'agreed', isPaused: decided === DECISIONS.paused };
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function readDecision(value: unknown): Decided {
  const decided = Object.values(DECISIONS).find((one) => padded(one) === value);
  if (decided === undefined) throw new Error(`"${String(value)}" in ${FILE} is no decision`);
  return decided;
}

/** Notes what was agreed; nothing is decided yet. Survives a crash once it resolves. */
export async function writeAgreement(sandbox: Sandbox, agreement: Agreement): Promise<void> {
  await writeWhole(sandbox, DECISIONS.agreed, agreement);
}

/**
 * Notes that the guest is given away, after `writeAgreement`. In place, because the guest stands still meanwhile: some bytes of
 * one sector, which are on the disk together or not at all. Survives a crash once it resolves; may be repeated.
 */
export async function writeGiven(sandbox: Sandbox, record: Agreement & Pick<MigrationRecord, 'isPaused'>): Promise<void> {
  const decision = record.isPaused ? DECISIONS.paused : DECISIONS.given;
  const file = await open(join(sandbox.dir, FILE), 'r+');
  try {
    const head = await file.read(Buffer.alloc(BEFORE_DECISION.length), 0, BEFORE_DECISION.length, 0);
    // an agent before this one has left no place for it
    if (head.buffer.toString() !== BEFORE_DECISION) return await writeWhole(sandbox, decision, record);
    const mark = Buffer.from(padded(decision));
    await file.write(mark, 0, mark.length, BEFORE_DECISION.length);
    await file.datasync();
  } finally {
    await file.close();
  }
}

async function writeWhole({ dir }: Sandbox, decision: Decided, { migration, target, disks }: Agreement): Promise<void> {
  const record = { decision: padded(decision), migration, target, disks };
  await writeFileAtomic(join(dir, FILE), `${JSON.stringify(record)}\n`);
}
