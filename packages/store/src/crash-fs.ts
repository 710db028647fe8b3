import type { StoreFile, StoreFs } from './store-fs.ts';

/** What a file holds for sure, what is in the page cache, and which bytes of that differ: 0 same, 1 dirty, 2 lost. */
interface CrashFile {
  durable: Buffer;
  current: Buffer;
  state: Buffer;
}

/** Thrown by every operation from the crash on. */
export class Crash extends Error {}

/** How much of what was not synced is found on the disk after the crash, 0 to 1. */
export type SurvivingShare = number;

/** What a step does instead of its work; a write leaves part of its bytes behind. */
export type Fault = 'ENOSPC' | 'EIO';

export interface CrashPlan {
  /** The step at which power fails. */
  readonly crashAt?: number;
  readonly faultAt?: (step: number) => Fault | undefined;
}

const [DIRTY, LOST] = [1, 2];

/**
 * A directory that loses power at its n-th write, sync, rename or removal, or fails at some of them. Only for tests:
 * names are durable after a directory sync, contents after a sync; of later writes a prefix survives. Bytes whose sync
 * failed are not written by the next one either, as on Linux: only writing them again helps.
 */
export class CrashFs implements StoreFs {
  private readonly crashAt: number;
  private readonly faultAt: (step: number) => Fault | undefined;
  private steps = 0;
  private durableNames = new Map<string, CrashFile>();
  private names = new Map<string, CrashFile>();

  constructor(plan: number | CrashPlan = {}) {
    const { crashAt, faultAt } = typeof plan === 'number' ? { crashAt: plan } : plan;
    this.crashAt = crashAt ?? Number.POSITIVE_INFINITY;
    this.faultAt = faultAt ?? (() => undefined);
  }

  get stepsTaken(): number {
    return this.steps;
  }

  /** The directory as a new process finds it; `names`: with those that were not synced, or without them. */
  afterCrash(share: SurvivingShare, plan: number | CrashPlan = {}, names: 'synced' | 'all' = 'synced'): CrashFs {
    const next = new CrashFs(plan);
    for (const [name, file] of names === 'all' ? this.names : this.durableNames) {
      const bytes = survivorOf(file, share);
      const copy = { durable: Buffer.from(bytes), current: Buffer.from(bytes), state: Buffer.alloc(bytes.length) };
      next.names.set(name, copy);
      next.durableNames.set(name, copy);
    }
    return next;
  }

  async list(): Promise<string[]> {
    return [...this.names.keys()];
  }

  async read(name: string): Promise<Uint8Array> {
    return Buffer.from(this.file(name).current);
  }

  async open(name: string): Promise<StoreFile> {
    if (!this.names.has(name)) {
      this.step();
      this.names.set(name, { durable: Buffer.alloc(0), current: Buffer.alloc(0), state: Buffer.alloc(0) });
    }
    const file = this.file(name);
    return {
      write: async (data, position) => {
        const next = this.steps + 1;
        if (next > this.crashAt) this.step(); // nothing happens after the crash
        // a torn write: half of it arrives before the lights go out, or before the disk is full
        const isTorn = next === this.crashAt || this.faultAt(next) !== undefined;
        put(file, isTorn ? data.subarray(0, data.length >> 1) : data, position);
        this.step();
      },
      sync: async () => {
        try {
          this.step();
        } catch (error) {
          if (!(error instanceof Crash)) for (let at = 0; at < file.state.length; at++) if (file.state[at]) file.state[at] = LOST;
          throw error;
        }
        file.durable = settledBytes(file);
        for (let at = 0; at < file.state.length; at++) if (file.state[at] === DIRTY) file.state[at] = 0;
      },
      truncate: async (length) => {
        this.step();
        resize(file, length);
      },
      close: async () => {},
    };
  }

  async rename(from: string, to: string): Promise<void> {
    this.step();
    this.names.set(to, this.file(from));
    this.names.delete(from);
  }

  async remove(name: string): Promise<void> {
    this.step();
    this.file(name);
    this.names.delete(name);
  }

  async syncDirectory(): Promise<void> {
    this.step();
    this.durableNames = new Map(this.names);
  }

  private file(name: string): CrashFile {
    const file = this.names.get(name);
    if (file === undefined) throw Object.assign(new Error(`No such file: ${name}`), { code: 'ENOENT' });
    return file;
  }

  private step(): void {
    this.steps++;
    if (this.steps >= this.crashAt) throw new Crash('power is gone');
    const code = this.faultAt(this.steps);
    if (code !== undefined) throw Object.assign(new Error(`${code} at step ${this.steps}`), { code });
  }
}

function put(file: CrashFile, data: Uint8Array, position: number): void {
  if (position + data.length > file.current.length) resize(file, position + data.length);
  file.current.set(data, position);
  file.state.fill(DIRTY, position, position + data.length);
}

function resize(file: CrashFile, length: number): void {
  const [bytes, state] = [Buffer.alloc(length), Buffer.alloc(length, DIRTY)];
  file.current.copy(bytes, 0, 0, Math.min(length, file.current.length));
  file.state.copy(state, 0, 0, Math.min(length, file.state.length));
  Object.assign(file, { current: bytes, state });
}

/** What a sync makes durable: lost bytes stay what they were on the disk. */
function settledBytes({ durable, current, state }: CrashFile): Buffer {
  const bytes = Buffer.from(current);
  for (let at = 0; at < bytes.length; at++) if (state[at] === LOST) bytes[at] = durable[at] ?? 0;
  return bytes;
}

function survivorOf(file: CrashFile, share: SurvivingShare): Buffer {
  const { durable, current } = file;
  if (current.length < durable.length) return durable;
  return settledBytes(file).subarray(0, Math.floor(durable.length + (current.length - durable.length) * share));
}
