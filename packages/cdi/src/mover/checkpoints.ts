import type { Clock } from '@slipway/runtime';
import { type Journal, notePosition, writeJournal } from './journal.ts';
import type { SparseWriter } from './sparse-writer.ts';

/** Bytes between two entries. */
const NOTE_BYTES = 4 * 1024 * 1024;
/** A transfer waits for its entries rather than run further ahead: what the kill of a process may cost, besides the wire. */
const MAX_AHEAD_BYTES = 2 * NOTE_BYTES;
/** What a loss of power may cost. */
const DURABLE_BYTES = 64 * 1024 * 1024;
const DURABLE_MS = 10_000;

export interface CheckpointDeps {
  readonly workDir: string;
  readonly bootId: string;
  readonly clock: Clock;
  readonly writer: SparseWriter;
  /** Bytes go to the disk at once, so that durable entries cost little. */
  readonly isDirect: boolean;
  /** The entry for so many bytes; undefined while nothing could be continued. */
  readonly entry: (bytes: number) => Journal | undefined;
}

/** Writes down how far a transfer is, while the transfer goes on. */
export class Checkpoints {
  private noted: number;
  private durable: number;
  private durableMs: number;
  private noting: Promise<void> | undefined;
  private syncing: Promise<void> | undefined;
  private isStopped = false;
  private failure: { readonly error: unknown } | undefined;

  private readonly deps: CheckpointDeps;

  constructor(deps: CheckpointDeps) {
    this.deps = deps;
    this.noted = deps.writer.position;
    this.durable = this.noted;
    this.durableMs = deps.clock.now();
  }

  /** To be called after every write. Throws what went wrong with an earlier entry. */
  async note(): Promise<void> {
    this.throwIfFailed();
    if (this.isStopped || this.ahead < NOTE_BYTES) return;
    this.noting ??= this.watched(this.writeNote()).finally(() => (this.noting = undefined));
    // apart from the notes: a slow disk must not let them wait
    if (this.syncing === undefined && this.isSyncDue())
      this.syncing = this.watched(this.writeDurably()).finally(() => (this.syncing = undefined));
    if (this.ahead >= MAX_AHEAD_BYTES) await this.noting;
  }

  private get ahead(): number {
    return this.deps.writer.position - this.noted;
  }

  /** After the last byte. */
  async close(): Promise<void> {
    await this.noting;
    await this.syncing;
    this.throwIfFailed();
    await this.deps.writer.finish();
  }

  /** Like `close`, and whoever comes next finds that there is nothing left to fetch. */
  async finish(isDurable: boolean): Promise<void> {
    await this.close();
    const { writer, entry, workDir, bootId } = this.deps;
    const journal = entry(writer.position);
    if (journal === undefined) return;
    if (isDurable) {
      await writer.durable();
      await writeJournal(workDir, journal);
    }
    await notePosition(workDir, journal, bootId);
  }

  /** No entry is written any more afterwards: what it would speak of may be wiped. */
  async stop(): Promise<void> {
    this.isStopped = true;
    await this.noting;
    await this.syncing;
  }

  private async writeNote(): Promise<void> {
    const { writer, entry, workDir, bootId } = this.deps;
    const bytes = await writer.landed();
    const journal = entry(bytes);
    if (journal !== undefined) await notePosition(workDir, journal, bootId);
    this.noted = bytes;
  }

  private async writeDurably(): Promise<void> {
    const { writer, entry, workDir, clock } = this.deps;
    const bytes = await writer.durable();
    const journal = entry(bytes);
    if (journal !== undefined) await writeJournal(workDir, journal);
    this.durable = bytes;
    this.durableMs = clock.now();
  }

  private isSyncDue(): boolean {
    const { writer, entry, isDirect, clock } = this.deps;
    if (entry(writer.position) === undefined) return false;
    return (isDirect && writer.position - this.durable >= DURABLE_BYTES) || clock.now() - this.durableMs >= DURABLE_MS;
  }

  private watched(writing: Promise<void>): Promise<void> {
    return writing.catch((error: unknown) => {
      this.failure ??= { error };
    });
  }

  private throwIfFailed(): void {
    if (this.failure !== undefined) throw this.failure.error;
  }
}
