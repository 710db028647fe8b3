import { chownSync, existsSync, readdirSync, renameSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { backupStore, checkStore, openStoreDirectory, restoreStore } from '@slipway/store';
import { requireInstance } from './instance/instance-store.ts';
import { findComponent } from './lifecycle/component.ts';
import { SERVER } from './lifecycle/component-specs.ts';
import { UserError } from './report-failure.ts';

interface StoreOptions {
  readonly dataDir: string;
}

const storeDirectory = (options: StoreOptions) => {
  const { config, paths } = requireInstance(options.dataDir);
  return { config, paths, directory: join(paths.server, 'store') };
};

/** Unlike `existsSync`, this throws for a directory that the caller may not look into. */
function isThere(directory: string): boolean {
  try {
    return statSync(directory, { throwIfNoEntry: false }) !== undefined;
  } catch (cause) {
    throw new Error(`Cannot look into ${directory}`, { cause });
  }
}

/** `slipway store check`: reads every byte and says what is wrong; exit status 1 when something is. */
export async function checkStoreFiles(options: StoreOptions & { readonly output: string }): Promise<void> {
  const { directory } = storeDirectory(options);
  if (!isThere(directory)) throw new UserError(`There is no store in ${directory} yet; \`slipway up\` makes one`);
  const report = await checkStore(await openStoreDirectory(directory));
  if (options.output === 'json') console.log(JSON.stringify({ directory, ...report }, undefined, 2));
  else {
    console.log(`${directory}: ${report.files} files, ${report.entries} objects, revision ${report.revision}`);
    for (const problem of report.problems) console.log(`  ${problem}`);
    if (report.problems.length === 0) console.log('  no problem found');
  }
  if (report.problems.length > 0) process.exitCode = 1;
}

/** `slipway store backup DIRECTORY`: a consistent copy, also while the platform runs. */
export async function backup(target: string, options: StoreOptions): Promise<void> {
  const { directory } = storeDirectory(options);
  const to = resolve(target);
  if (existsSync(to) && readdirSync(to).length > 0) throw new UserError(`${to} is not empty; choose a new directory`);
  const { entries, revision } = await backupStore(await openStoreDirectory(directory), await openStoreDirectory(to), Date.now());
  console.log(`${to}: ${entries} objects, revision ${revision}`);
}

/** `slipway store restore DIRECTORY`: puts a backup in place of the store, which is kept beside it. */
export async function restore(source: string, options: StoreOptions): Promise<void> {
  const { config, paths, directory } = storeDirectory(options);
  if (findComponent(paths, SERVER) !== undefined)
    throw new UserError('The server runs; stop it with `slipway down` first (guests keep running)');
  const from = resolve(source);
  if (!isThere(from)) throw new UserError(`There is no backup in ${from}`);
  const fresh = `${directory}.new-${process.pid}`;
  const newestRevision = await revisionOf(directory);
  const backupFs = await openStoreDirectory(from);
  const { entries, revision } = await restoreStore(backupFs, await openStoreDirectory(fresh), {
    newestRevision,
    nowMs: Date.now(),
  });
  giveTo(fresh, config.serverUid);
  const kept = keepOld(directory);
  renameSync(fresh, directory);
  console.log(`${directory}: ${entries} objects, revision ${revision}${kept === undefined ? '' : `\nthe store before: ${kept}`}`);
}

/** Of a store that may be damaged: then what the names of its files say is enough to stay above. */
async function revisionOf(directory: string): Promise<number> {
  if (!existsSync(directory)) return 0;
  const fs = await openStoreDirectory(directory);
  const { revision } = await checkStore(fs);
  const named = (await fs.list()).map((name) => Number(/-(\d{16})\./.exec(name)?.[1] ?? 0));
  return Math.max(revision, ...named);
}

function giveTo(directory: string, uid: number): void {
  if (process.getuid?.() !== 0) return;
  for (const name of readdirSync(directory)) chownSync(join(directory, name), uid, uid);
  chownSync(directory, uid, uid);
}

function keepOld(directory: string): string | undefined {
  if (!existsSync(directory)) return undefined;
  const kept = `${directory}.before-${new Date().toISOString().replace(/[:.]/g, '-')}`;
  renameSync(directory, kept);
  return kept;
}
