import { close, constants, fdatasync, ftruncate, open as openFile, write } from 'node:fs';
import { mkdir, open, readFile, readdir, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';

/** A file that is written at its end and synced. */
export interface StoreFile {
  /** Writes all bytes at `position`. */
  write(data: Uint8Array, position: number): Promise<void>;
  /** Returns when everything written is on stable storage. */
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
  /** May be called again. */
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

/** A descriptor and not a FileHandle: the log is synced for each group of writes, and handles cost half as much again. */
function openForWriting(path: string): Promise<number> {
  // neither truncated nor appended to: a log is opened again where it ended
  const flags = constants.O_RDWR | constants.O_CREAT;
  return new Promise((resolve, reject) => {
    openFile(path, flags, 0o600, (error, descriptor) => (error ? reject(error) : resolve(descriptor)));
  });
}

function storeFile(descriptor: number): StoreFile {
  let isOpen = true;
  const settled = (start: (done: (error: Error | null) => void) => void): Promise<void> =>
    new Promise((resolve, reject) => start((error) => (error ? reject(error) : resolve())));
  return {
    async write(data, position) {
      for (let offset = 0; offset < data.length; ) {
        offset += await writeSome(descriptor, data.subarray(offset), position + offset);
      }
    },
    sync: () => settled((done) => fdatasync(descriptor, done)),
    truncate: (length) => settled((done) => ftruncate(descriptor, length, done)),
    async close() {
      if (!isOpen) return; // its number may be somebody else's by now
      isOpen = false;
      await settled((done) => close(descriptor, done));
    },
  };
}

/** A full disk or a signal may cut a write short. */
function writeSome(descriptor: number, data: Uint8Array, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(descriptor, data, 0, data.length, position, (error, written) => {
      if (error) reject(error);
      else if (written === 0) reject(Object.assign(new Error('The disk took nothing of a write'), { code: 'EIO' }));
      else resolve(written);
    });
  });
}
