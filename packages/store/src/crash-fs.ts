import type { StoreFile, StoreFs } from './store-fs.ts';

/** What a file holds for sure, and what was written since the last sync. */
interface CrashFile {
  durable: Buffer;
  current: Buffer;
}

/** Thrown by every operation from the crash on. */
export class Crash extends Error {}

/** How much of what was not synced is found on the disk after the crash, 0 to 1. */
export type SurvivingShare = number;

/**
 * A directory that loses power at its n-th write, sync, rename or removal. Only for tests: names are durable after a
 * directory sync, contents after a sync; of later writes a prefix survives.
 */
export class CrashFs implements StoreFs {
  private readonly crashAt: number;
  private steps = 0;
  private durableNames = new Map<string, CrashFile>();
  private names = new Map<string, CrashFile>();

  constructor(crashAt = Number.POSITIVE_INFINITY) {
    this.crashAt = crashAt;
  }

  get stepsTaken(): number {
    return this.steps;
  }

  /** The directory as a new process finds it. */
  afterCrash(share: SurvivingShare, crashAt?: number): CrashFs {
    const next = new CrashFs(crashAt);
    for (const [name, file] of this.durableNames) {
      const kept = Math.floor(file.durable.length + Math.max(0, file.current.length - file.durable.length) * share);
      const bytes = file.current.length >= file.durable.length ? file.current.subarray(0, kept) : file.durable;
      const copy = { durable: Buffer.from(bytes), current: Buffer.from(bytes) };
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
      this.names.set(name, { durable: Buffer.alloc(0), current: Buffer.alloc(0) });
    }
    const file = this.file(name);
    return {
      write: async (data, position) => {
        // a torn write: half of it arrives before the lights go out
        const isLast = this.steps + 1 === this.crashAt;
        const part = isLast ? data.subarray(0, data.length >> 1) : data;
        const grown = Buffer.alloc(Math.max(file.current.length, position + part.length));
        file.current.copy(grown);
        grown.set(part, position);
        file.current = grown;
        this.step();
      },
      sync: async () => {
        this.step();
        file.durable = Buffer.from(file.current);
      },
      truncate: async (length) => {
        this.step();
        const cut = Buffer.alloc(length);
        file.current.copy(cut, 0, 0, Math.min(length, file.current.length));
        file.current = cut;
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
  }
}
