import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { DIRECT_ALIGNMENT } from './aligned-memory.ts';
import { codeOf, explainWriteError } from './import-error.ts';

/**
 * A file that takes a lot of data. What is aligned goes past the page cache where the file system can do that: it costs
 * half the CPU time, is on disk at once, and leaves the memory to the guests of the node.
 */
export class BulkFile {
  readonly file: FileHandle;
  private direct: FileHandle | undefined;

  private constructor(file: FileHandle, direct: FileHandle | undefined) {
    this.file = file;
    this.direct = direct;
  }

  /** `flags` as of `fs.open`. With `isCached` everything goes through the page cache, for files that are read again soon. */
  static async open(path: string, flags: string, { isCached = false } = {}): Promise<BulkFile> {
    const file = await open(path, flags, 0o600);
    if (isCached) return new BulkFile(file, undefined);
    return new BulkFile(file, await openDirect(path));
  }

  /** What is written is on disk but for what the file system notes about it. */
  get isDirect(): boolean {
    return this.direct !== undefined;
  }

  /** Throws `NoSpace` for a full file system. */
  async write(data: Buffer, position: number): Promise<void> {
    const aligned = this.isAligned(data, position) ? data.length - (data.length % DIRECT_ALIGNMENT) : 0;
    try {
      if (aligned > 0) await this.writeDirect(data.subarray(0, aligned), position);
      if (aligned < data.length) await writeFully(this.file, data.subarray(aligned), position + aligned);
    } catch (error) {
      throw explainWriteError(error);
    }
  }

  async close(): Promise<void> {
    await this.direct?.close();
    await this.file.close();
  }

  private isAligned(data: Buffer, position: number): boolean {
    return this.direct !== undefined && position % DIRECT_ALIGNMENT === 0 && data.byteOffset % DIRECT_ALIGNMENT === 0;
  }

  private async writeDirect(data: Buffer, position: number): Promise<void> {
    const { direct } = this;
    try {
      if (direct !== undefined) return await writeFully(direct, data, position);
    } catch (error) {
      if (codeOf(error) !== 'EINVAL') throw error;
      // the device under the file system wants more than was given
      this.direct = undefined;
      await direct?.close();
    }
    await writeFully(this.file, data, position);
  }
}

const openDirect = (path: string): Promise<FileHandle | undefined> =>
  open(path, constants.O_WRONLY | constants.O_DIRECT).catch(() => undefined);

/** True when the file system of an existing file can go without the page cache. */
export async function canBeDirect(path: string): Promise<boolean> {
  const direct = await openDirect(path);
  await direct?.close();
  return direct !== undefined;
}

async function writeFully(file: FileHandle, data: Buffer, position: number): Promise<void> {
  for (let done = 0; done < data.length; ) {
    const { bytesWritten } = await file.write(data, done, data.length - done, position + done);
    done += bytesWritten;
  }
}
