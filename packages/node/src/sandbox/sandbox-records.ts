import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isSameProcess } from '@slipway/hostapi';
import type { RunningSandbox } from './sandbox-manager.ts';

/** Sandboxes of a node that stand, from its state directory and the process table alone. */
export async function readSandboxRecords(stateDir: string): Promise<readonly RunningSandbox[]> {
  const root = join(stateDir, 'sandboxes');
  const names = await readdir(root).catch(() => []);
  const records: RunningSandbox[] = [];
  for (const name of names.filter((entry) => entry.endsWith('.json') && !entry.startsWith('.'))) {
    try {
      // written by SandboxManager
      records.push(JSON.parse(await readFile(join(root, name), 'utf8')) as RunningSandbox);
    } catch {
      // removed meanwhile
    }
  }
  return records.filter(({ init }) => isSameProcess(init));
}
