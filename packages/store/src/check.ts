import { loadStore } from './load.ts';
import { readLog, readSnapshot, storeFiles } from './segments.ts';
import type { StoreFs } from './store-fs.ts';

export interface StoreCheck {
  readonly files: number;
  readonly entries: number;
  readonly revision: number;
  /** Empty when all is well. */
  readonly problems: readonly string[];
}

/** Reads every byte of a store that is not open and says what is wrong with it. */
export async function checkStore(fs: StoreFs): Promise<StoreCheck> {
  const files = storeFiles(await fs.list());
  const newestLog = files.filter(({ content }) => content === 'log').at(-1);
  const problems: string[] = [];
  for (const file of files) {
    try {
      await (file.content === 'log' ? readLog(fs, file, file === newestLog) : readSnapshot(fs, file));
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  }
  try {
    const { entries, revision } = await loadStore(fs);
    return { files: files.length, entries: entries.size, revision, problems };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return { files: files.length, entries: 0, revision: 0, problems: [...new Set([...problems, text])] };
  }
}
