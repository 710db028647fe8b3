import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

const START = 'start.cjs';
const BUNDLES = [START, 'server.program', 'node.program', 'mover.mjs'] as const;

export interface ProgramFiles {
  /** The Node.js that runs the platform. */
  readonly node: string;
  /** Directory of the bundles. */
  readonly bundles: string;
  /** Tell one build of the programs from another. */
  readonly builds: { readonly server: string; readonly node: string };
}

/**
 * Copies what runs into the data directory: unprivileged processes can read it there wherever the checkout is, and a
 * checkout that changes does not change a running platform.
 */
export function installProgramFiles(dataDir: string, checkout: string): ProgramFiles {
  const bundles = join(dataDir, 'bin');
  mkdirSync(bundles, { recursive: true, mode: 0o755 });
  for (const name of BUNDLES) copyIfChanged(join(checkout, 'dist', name), join(bundles, name), 0o644);
  const build = (...names: readonly string[]): string =>
    buildOf([process.version, ...names.map((name) => readFileSync(join(bundles, name)))]);
  const files = { bundles, builds: { server: build(START, 'server.program'), node: build(START, 'node.program', 'mover.mjs') } };
  if (isReachableByAll(process.execPath)) return { node: process.execPath, ...files };
  const node = join(bundles, 'node');
  copyIfChanged(process.execPath, node, 0o755);
  return { node, ...files };
}

/** A short name for the contents of a program. */
export function buildOf(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex').slice(0, 8);
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
