import { chmodSync, copyFileSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

const BUNDLES = ['server.mjs', 'node.mjs', 'mover.mjs'] as const;

export interface ProgramFiles {
  /** The Node.js that runs the platform. */
  readonly node: string;
  /** Directory of the bundles. */
  readonly bundles: string;
}

/**
 * Copies what runs into the data directory: unprivileged processes can read it there wherever the checkout is, and a
 * checkout that changes does not change a running platform.
 */
export function installProgramFiles(dataDir: string, checkout: string): ProgramFiles {
  const bundles = join(dataDir, 'bin');
  mkdirSync(bundles, { recursive: true, mode: 0o755 });
  for (const name of BUNDLES) copyIfChanged(join(checkout, 'dist', name), join(bundles, name), 0o644);
  if (isReachableByAll(process.execPath)) return { node: process.execPath, bundles };
  const node = join(bundles, 'node');
  copyIfChanged(process.execPath, node, 0o755);
  return { node, bundles };
}

/** Replaces by rename: a process that runs from the old file keeps it. */
function copyIfChanged(source: string, target: string, mode: number): void {
  const from = statSync(source);
  const to = statSync(target, { throwIfNoEntry: false });
  if (to && to.size === from.size && to.mtimeMs >= from.mtimeMs) return;
  copyFileSync(source, `${target}.new`);
  chmodSync(`${target}.new`, mode);
  renameSync(`${target}.new`, target);
}

function isReachableByAll(file: string): boolean {
  const EXECUTE_BY_OTHERS = 0o001;
  for (let path = file; path !== '/'; path = dirname(path)) if ((statSync(path).mode & EXECUTE_BY_OTHERS) === 0) return false;
  return true;
}
