import type { StoreFs } from './store-fs.ts';

interface MemoryFile {
  bytes: Buffer;
  length: number;
}

/** A store directory in memory: for tests and for control planes that need not survive. */
export function memoryStoreFs(): StoreFs {
  const files = new Map<string, MemoryFile>();
  const find = (name: string): MemoryFile => {
    const file = files.get(name);
    if (file === undefined) throw Object.assign(new Error(`No such file: ${name}`), { code: 'ENOENT' });
    return file;
  };
  return {
    list: async () => [...files.keys()],
    read: async (name) => Buffer.from(find(name).bytes.subarray(0, find(name).length)),
    async open(name) {
      const file = files.get(name) ?? { bytes: Buffer.alloc(4096), length: 0 };
      files.set(name, file);
      return {
        write: async (data, position) => writeMemory(file, data, position),
        sync: async () => {},
        async truncate(length) {
          file.bytes.fill(0, length);
          file.length = length;
        },
        close: async () => {},
      };
    },
    async rename(from, to) {
      files.set(to, find(from));
      files.delete(from);
    },
    async remove(name) {
      find(name);
      files.delete(name);
    },
    syncDirectory: async () => {},
  };
}

function writeMemory(file: MemoryFile, data: Uint8Array, position: number): void {
  const end = position + data.length;
  if (end > file.bytes.length) {
    const grown = Buffer.alloc(Math.max(end, file.bytes.length * 2));
    file.bytes.copy(grown, 0, 0, file.length);
    file.bytes = grown;
  }
  file.bytes.set(data, position);
  file.length = Math.max(file.length, end);
}
