import { loadStore } from './load.ts';
import { liveLogs, logReader, readSnapshot, requireWhole, storeFiles } from './segments.ts';
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
  const read = logReader(fs);
  const logs = files.filter(({ content }) => content === 'log');
  const problems: string[] = [];
  const attempt = async (step: () => Promise<unknown>): Promise<void> => {
    try {
      await step();
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  };
  const finished = async (): Promise<typeof logs> => (await liveLogs(read, logs)).slice(0, -1);
  for (const file of files) await attempt(() => (file.content === 'log' ? read(file) : readSnapshot(fs, file)));
  // a log that does not even read was reported above; an empty one was left by a failed rotation
  for (const file of await finished().catch(() => [])) {
    const contents = await read(file).catch(() => undefined);
    if (contents !== undefined && contents.records.length > 0) await attempt(async () => requireWhole(file, contents));
  }
  try {
    const { entries, revision } = await loadStore(fs);
    return { files: files.length, entries: entries.size, revision, problems };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return { files: files.length, entries: 0, revision: 0, problems: [...new Set([...problems, text])] };
  }
}
