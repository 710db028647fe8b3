import { type FileHandle, mkdir, open, readFile, readdir, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';

/** A file that is written at its end and synced. */
export interface StoreFile {
  /** Writes all bytes at `position`. */
  write(data: Uint8Array, position: number): Promise<void>;
  /** Returns when everything written is on stable storage. */
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
  close(): Promise<void>;
}

/** The few file operations the store needs; replaced in crash tests. Names are relative to the store's directory. */
export interface StoreFs {
  list(): Promise<string[]>;
  read(name: string): Promise<Uint8Array>;
  /** Opens for writing, creating the file when it is missing. */
  open(name: string): Promise<StoreFile>;
  rename(from: string, to: string): Promise<void>;
  remove(name: string): Promise<void>;
  /** Makes created, renamed and removed names durable. */
  syncDirectory(): Promise<void>;
}

/** The real file system below `directory`, which is created (mode 0700) when it is missing. */
export async function openStoreDirectory(directory: string): Promise<StoreFs> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = (name: string): string => join(directory, name);
  return {
    list: () => readdir(directory),
    read: (name) => readFile(path(name)),
    open: async (name) => storeFile(await openForWriting(path(name))),
    rename: (from, to) => rename(path(from), path(to)),
    remove: (name) => unlink(path(name)),
    async syncDirectory() {
      const handle = await open(directory, 'r');
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
    },
  };
}

async function openForWriting(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r+');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error; // fs errors carry a code
    return open(path, 'wx+', 0o600);
  }
}

function storeFile(handle: FileHandle): StoreFile {
  return {
    async write(data, position) {
      let offset = 0;
      while (offset < data.length) {
        const { bytesWritten } = await handle.write(data, offset, data.length - offset, position + offset);
        offset += bytesWritten;
      }
    },
    sync: () => handle.datasync(),
    truncate: (length) => handle.truncate(length),
    close: () => handle.close(),
  };
}
