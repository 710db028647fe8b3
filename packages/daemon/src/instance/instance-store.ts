import { chmodSync, chownSync, existsSync, readFileSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { replaceFile } from '@slipway/hostapi';
import { makeDirectories } from '../make-directories.ts';
import { UserError } from '../report-failure.ts';
import type { InstanceConfig } from './instance-config.ts';
import { type InstancePaths, instancePaths } from './paths.ts';

/** The data directory with links resolved, also when it does not exist yet. */
export function canonicalDataDir(dataDir: string): string {
  const absolute = resolve(dataDir);
  return existsSync(absolute) ? realpathSync(absolute) : join(canonicalDataDir(dirname(absolute)), basename(absolute));
}

/** The installation in this data directory, or undefined when there is none. */
export function loadInstance(dataDir: string): { config: InstanceConfig; paths: InstancePaths } | undefined {
  const paths = instancePaths(canonicalDataDir(dataDir));
  if (!existsSync(paths.config)) return undefined;
  let config: InstanceConfig;
  try {
    config = JSON.parse(readFileSync(paths.config, 'utf8')) as InstanceConfig; // written by saveInstance
  } catch (cause) {
    throw new Error(`Cannot read ${paths.config}; restore it from a backup, or run \`slipway reset\``, { cause });
  }
  if (config.formatVersion !== 1)
    throw new UserError(
      `${paths.config} has format ${String(config.formatVersion)}, which this version of Slipway does not know`,
    );
  return { config, paths };
}

export function requireInstance(dataDir: string): { config: InstanceConfig; paths: InstancePaths } {
  const instance = loadInstance(dataDir);
  if (instance === undefined) throw new UserError(`There is no installation in ${dataDir}; start one with \`slipway up\``);
  return instance;
}

/** Makes the directories with their owners, then writes the configuration: a kill in between leaves no half installation. */
export function saveInstance(config: InstanceConfig, paths: InstancePaths): void {
  makeDirectory(paths.dataDir, 0o711);
  makeDirectory(paths.run, 0o711);
  makeDirectory(paths.logs, 0o711);
  makeDirectory(paths.server, 0o700, config.serverUid);
  makeDirectory(paths.pki, 0o700, config.serverUid);
  makeDirectory(join(paths.dataDir, 'nodes'), 0o711);
  for (const node of config.nodes) makeDirectory(paths.node(node.name).stateDir, 0o711);
  replaceFile(paths.config, `${JSON.stringify(config, undefined, 2)}\n`, 0o644);
}

function makeDirectory(path: string, mode: number, owner?: number): void {
  makeDirectories(path, mode);
  chmodSync(path, mode);
  if (owner !== undefined) chownSync(path, owner, owner);
}
