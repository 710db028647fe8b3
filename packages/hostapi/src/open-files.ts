import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** A process that has a file open. */
export interface FileHolder {
  readonly pid: number;
  /** User that it runs as. */
  readonly uid: number;
  /** Name of the program, at most 15 characters. */
  readonly program: string;
  /** Opened for writing. */
  readonly isWritable: boolean;
  /** Bytes that QEMU locks to say: I write this image. Absent from a file that it has open and does not use yet. */
  readonly hasWriteLock: boolean;
}

/** What is the same of all names of a file, as text. */
export const fileIdentity = ({ dev, ino }: { readonly dev: number; readonly ino: number }): string => `${dev}:${ino}`;

const ACCESS_MODE = 0o3;
/** QEMU locks byte 100 + n of an image for permission n that it uses; 1 is writing. */
const WRITE_LOCK_BYTE = 101;

/**
 * Every process of this machine that has one of the files open, by `fileIdentity`; all names of a file and all mount
 * namespaces count. Needs root for processes of others. Processes that end meanwhile are left out.
 */
export async function openFiles(identities: ReadonlySet<string>, proc = '/proc'): Promise<ReadonlyMap<string, FileHolder[]>> {
  const found = new Map<string, FileHolder[]>();
  if (identities.size === 0) return found;
  for (const pid of await readdir(proc)) {
    if (!/^\d+$/.test(pid)) continue;
    const directory = join(proc, pid);
    const descriptors = await readdir(join(directory, 'fd')).catch(() => []); // it ended
    for (const descriptor of descriptors) {
      const identity = await stat(join(directory, 'fd', descriptor)).then(fileIdentity, () => '');
      if (!identities.has(identity)) continue;
      const holder = await describe(directory, descriptor);
      if (holder === undefined) continue;
      const holders = found.get(identity);
      if (holders === undefined) found.set(identity, [holder]);
      else holders.push(holder);
    }
  }
  return found;
}

async function describe(directory: string, descriptor: string): Promise<FileHolder | undefined> {
  try {
    const info = await readFile(join(directory, 'fdinfo', descriptor), 'utf8');
    const program = (await readFile(join(directory, 'comm'), 'utf8')).trim();
    const { uid } = await stat(directory);
    const pid = Number(directory.slice(directory.lastIndexOf('/') + 1));
    return { pid, uid, program, ...parseDescriptor(info) };
  } catch {
    return undefined; // it ended
  }
}

/** What /proc/PID/fdinfo/N says of a descriptor. Pure. */
export function parseDescriptor(text: string): Pick<FileHolder, 'isWritable' | 'hasWriteLock'> {
  const flags = Number.parseInt(/^flags:\s*([0-7]+)/m.exec(text)?.[1] ?? '0', 8);
  const locks = [...text.matchAll(/^lock:\s.*\b(?:OFDLCK|POSIX)\b.*\s(\d+) (\d+|EOF)$/gm)];
  const hasWriteLock = locks.some(([, from = '', to = '']) => {
    const last = to === 'EOF' ? Number.POSITIVE_INFINITY : Number(to);
    return Number(from) <= WRITE_LOCK_BYTE && WRITE_LOCK_BYTE <= last;
  });
  return { isWritable: (flags & ACCESS_MODE) !== 0, hasWriteLock };
}
