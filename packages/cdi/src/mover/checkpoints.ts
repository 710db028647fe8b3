import type { Clock } from '@slipway/runtime';
import { type Journal, notePosition, writeJournal } from './journal.ts';
import type { SparseWriter } from './sparse-writer.ts';

/** Bytes between two entries: what the kill of a process may cost, besides what was on the wire. */
const NOTE_BYTES = 4 * 1024 * 1024;
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

/** Writes down how far a transfer is, one entry at a time, while the transfer goes on. */
export class Checkpoints {
  private noted: number;
  private durable: number;
  private durableMs: number;
  private writing: Promise<void> | undefined;
  private failure: { readonly error: unknown } | undefined;

  private readonly deps: CheckpointDeps;

  constructor(deps: CheckpointDeps) {
    this.deps = deps;
    this.noted = deps.writer.position;
    this.durable = this.noted;
    this.durableMs = deps.clock.now();
  }

  /** To be called after every write. Throws what went wrong with an earlier entry. */
  note(): void {
    if (this.failure !== undefined) throw this.failure.error;
    if (this.writing !== undefined || this.deps.writer.position - this.noted < NOTE_BYTES) return;
    this.writing = this.write()
      .catch((error: unknown) => {
        this.failure = { error };
      })
      .finally(() => {
        this.writing = undefined;
      });
  }

  /** After the last byte. */
  async close(): Promise<void> {
    await this.writing;
    if (this.failure !== undefined) throw this.failure.error;
    await this.deps.writer.finish();
  }

  /** Like `close`, and whoever comes next finds that there is nothing left to fetch. */
  async finish(isDurable: boolean): Promise<void> {
    await this.close();
    const { writer, entry, workDir, bootId } = this.deps;
    if (isDurable) await writer.durable();
    const journal = entry(writer.position);
    if (journal !== undefined) await (isDurable ? writeJournal : notePosition)(workDir, journal, bootId);
  }

  private async write(): Promise<void> {
    const { writer, entry, workDir, bootId, clock } = this.deps;
    if (entry(writer.position) === undefined) return;
    const isDurable = this.isDurableDue();
    this.noted = await (isDurable ? writer.durable() : writer.landed());
    const journal = entry(this.noted);
    if (journal === undefined) return;
    await (isDurable ? writeJournal : notePosition)(workDir, journal, bootId);
    if (!isDurable) return;
    this.durable = this.noted;
    this.durableMs = clock.now();
  }

  private isDurableDue(): boolean {
    const { writer, isDirect, clock } = this.deps;
    return (isDirect && writer.position - this.durable >= DURABLE_BYTES) || clock.now() - this.durableMs >= DURABLE_MS;
  }
}
