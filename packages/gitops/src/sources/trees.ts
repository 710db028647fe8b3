import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Directories kept of all sources together. */
const MAX_TREES = 40;

export const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** Removes the oldest directories of a cache beyond those that are kept; `new-` ones are still being made. */
export async function dropOldTrees(trees: string, kept: string): Promise<void> {
  const names = await readdir(trees);
  if (names.length <= MAX_TREES) return;
  const dated = await Promise.all(
    names.map(async (name) => ({ name, at: (await stat(join(trees, name)).catch(() => undefined))?.mtimeMs ?? 0 })),
  );
  const old = dated.filter(({ name }) => name !== kept && !name.startsWith('new-')).sort((a, b) => a.at - b.at);
  for (const { name } of old.slice(0, names.length - MAX_TREES)) await rm(join(trees, name), { recursive: true, force: true });
}
