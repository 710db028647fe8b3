/** One member of an initramfs. Directories that are parents of members are added by `cpioArchive`. */
export type CpioEntry =
  | { readonly kind: 'file'; readonly path: string; readonly mode: number; readonly content: Uint8Array | string }
  | { readonly kind: 'directory'; readonly path: string; readonly mode: number }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | { readonly kind: 'device'; readonly path: string; readonly mode: number; readonly major: number; readonly minor: number };

const FILE_TYPE = { file: 0o100000, directory: 0o040000, link: 0o120000, device: 0o020000 } as const;

/** Writes the "newc" format of cpio that the kernel unpacks: owned by root, without times, hence reproducible. */
export function cpioArchive(entries: readonly CpioEntry[]): Uint8Array {
  const parts: Buffer[] = [];
  let inode = 1;
  for (const entry of withParents(entries)) {
    const data = dataOf(entry);
    parts.push(header(entry, data.length, inode), data, padding(data.length));
    inode += 1;
  }
  parts.push(record({ inode: 0, mode: 0, size: 0, major: 0, minor: 0, name: 'TRAILER!!!' }));
  return Buffer.concat(parts);
}

function withParents(entries: readonly CpioEntry[]): CpioEntry[] {
  const known = new Set(entries.filter((entry) => entry.kind === 'directory').map((entry) => entry.path));
  const result: CpioEntry[] = [];
  const addParents = (path: string): void => {
    const parent = path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '';
    if (parent === '' || known.has(parent)) return;
    addParents(parent);
    known.add(parent);
    result.push({ kind: 'directory', path: parent, mode: 0o755 });
  };
  for (const entry of entries) {
    addParents(entry.path);
    result.push(entry);
  }
  return result;
}

function dataOf(entry: CpioEntry): Buffer {
  if (entry.kind === 'file') return Buffer.from(entry.content);
  return entry.kind === 'link' ? Buffer.from(entry.target) : Buffer.alloc(0);
}

function header(entry: CpioEntry, size: number, inode: number): Buffer {
  const permissions = entry.kind === 'link' ? 0o777 : entry.mode;
  const device = entry.kind === 'device' ? entry : { major: 0, minor: 0 };
  return record({
    inode,
    mode: FILE_TYPE[entry.kind] | permissions,
    size,
    major: device.major,
    minor: device.minor,
    name: entry.path,
  });
}

interface CpioRecord {
  readonly inode: number;
  readonly mode: number;
  readonly size: number;
  readonly major: number;
  readonly minor: number;
  readonly name: string;
}

function record({ inode, mode, size, major, minor, name }: CpioRecord): Buffer {
  const nameSize = Buffer.byteLength(name) + 1;
  // inode, mode, uid, gid, nlink, mtime, size, dev major/minor, rdev major/minor, name size, checksum
  const fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, nameSize, 0];
  const text = `070701${fields.map((field) => field.toString(16).toUpperCase().padStart(8, '0')).join('')}${name}\0`;
  const bytes = Buffer.from(text);
  return Buffer.concat([bytes, padding(bytes.length)]);
}

function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}
