import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type FileHolder, fileIdentity, openFiles } from '@slipway/hostapi';

/** Directories of an installation in which disks of guests are. */
const PLACES = /(^|\/)(volumes|podvolumes|layers)\//;

/**
 * The one rule of disks, looked up in the kernel and not in what the product says of itself: nobody writes a disk that
 * somebody else writes. Throws with the processes; returns how many disks are written. `shared` names volumes whose VMs
 * say that they share them.
 */
export async function checkDiskWriters(dataDir: string, shared: readonly string[] = []): Promise<number> {
  const names = await diskFiles(dataDir);
  const holders = await openFiles(new Set(names.keys()));
  let written = 0;
  for (const [identity, found] of holders) {
    const paths = names.get(identity) ?? [];
    const writers = found.filter(isWriter);
    if (writers.length > 0) written++;
    const isShared = paths.some((path) => shared.some((uid) => path.includes(uid)));
    const isLayer = paths.some((path) => path.includes('/layers/'));
    // layers are merged by a tool while no guest has them
    const isSpoilt = isLayer && writers.some(isQemu);
    // each guest and each transfer has a user of its own
    const users = new Set(writers.map(({ uid }) => uid));
    if ((users.size > 1 && !isShared) || isSpoilt)
      throw new Error(`${paths.join(', ')} is written by ${JSON.stringify(writers)}`);
  }
  return written;
}

/** The agent works as root on disks that nobody uses; a QEMU that waits for a migration has no lock yet. */
const isWriter = (holder: FileHolder): boolean =>
  holder.isWritable && holder.uid !== 0 && (!isQemu(holder) || holder.hasWriteLock);

const isQemu = ({ program }: FileHolder): boolean => program.startsWith('qemu-system');

/** All names of each disk, by the identity of the file. */
async function diskFiles(dataDir: string): Promise<ReadonlyMap<string, string[]>> {
  const names = new Map<string, string[]>();
  // directories come and go meanwhile
  for (const name of await list(dataDir, '')) {
    if (!PLACES.test(name) || !name.endsWith('.img')) continue;
    const identity = await stat(join(dataDir, name)).then(fileIdentity, () => undefined);
    if (identity !== undefined) names.set(identity, [...(names.get(identity) ?? []), name]);
  }
  return names;
}

async function list(root: string, name: string): Promise<readonly string[]> {
  const entries = await readdir(join(root, name), { withFileTypes: true }).catch(() => []);
  const files = entries.filter((entry) => !entry.isDirectory()).map((entry) => join(name, entry.name));
  const directories = entries.filter((entry) => entry.isDirectory());
  const below = await Promise.all(directories.map((entry) => list(root, join(name, entry.name))));
  return [...files, ...below.flat()];
}

/** Checks again and again until `stop`, which throws what was found meanwhile. */
export function watchDiskWriters(dataDir: string): { stop(): Promise<void> } {
  const over = new AbortController();
  let complaint: unknown;
  const watching = (async () => {
    while (!over.signal.aborted) {
      await checkDiskWriters(dataDir);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })().catch((error: unknown) => {
    complaint = error;
  });
  return {
    async stop() {
      over.abort();
      await watching;
      if (complaint !== undefined) throw complaint;
    },
  };
}
