import { existsSync } from 'node:fs';
import { mkdir, readdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** How this host arranges its control groups; decides where limits are written. */
export type CgroupMode = 'v2' | 'v1' | 'hybrid' | 'none';

export interface CgroupLimits {
  readonly memoryBytes?: number;
  /** Processor time per second of wall time, in processors. */
  readonly cpus?: number;
  readonly processes?: number;
}

const ROOT = '/sys/fs/cgroup';
const CPU_PERIOD_US = 100_000;
const V1_CONTROLLERS = ['memory', 'cpu', 'pids'] as const;

/** Detected, never assumed. */
export function detectCgroupMode(root = ROOT): CgroupMode {
  if (existsSync(join(root, 'cgroup.controllers'))) return 'v2';
  if (!existsSync(join(root, 'memory')) && !existsSync(join(root, 'cpu'))) return 'none';
  return existsSync(join(root, 'unified')) ? 'hybrid' : 'v1';
}

/** Files to write for the limits, as `[path beneath the group's directory, value]` per controller; pure. */
export function planLimits(mode: CgroupMode, limits: CgroupLimits): ReadonlyMap<string, readonly (readonly [string, string])[]> {
  const { memoryBytes, cpus, processes } = limits;
  const quota = cpus === undefined ? undefined : Math.max(1000, Math.round(cpus * CPU_PERIOD_US));
  const entry = (file: string, value: number | string | undefined): [string, string][] =>
    value === undefined ? [] : [[file, String(value)]];
  if (mode === 'none') return new Map();
  if (mode === 'v2')
    return new Map([
      [
        '',
        [
          ...entry('memory.max', memoryBytes),
          ...entry('cpu.max', quota === undefined ? undefined : `${quota} ${CPU_PERIOD_US}`),
          ...entry('pids.max', processes),
        ],
      ],
    ]);
  return new Map([
    ['memory', entry('memory.limit_in_bytes', memoryBytes)],
    ['cpu', entry('cpu.cfs_quota_us', quota)],
    ['pids', entry('pids.max', processes)],
  ]);
}

function directories(mode: CgroupMode, root: string, parent: string, name: string): string[] {
  if (mode === 'none') return [];
  if (mode === 'v2') return [join(root, parent, name)];
  return V1_CONTROLLERS.map((controller) => join(root, controller, parent, name));
}

export interface PreparedCgroup {
  /** A process that writes `0` to each of these files joins the group, with its future children. */
  readonly membershipFiles: readonly string[];
  /** Limits that cannot be set on this host: a condition to report, not a failure. */
  readonly missing: readonly string[];
}

/** Makes a group with limits, beneath a parent group of ours. */
export async function prepareCgroup(
  options: { readonly parent: string; readonly name: string; readonly limits: CgroupLimits },
  root = ROOT,
): Promise<PreparedCgroup> {
  const { parent, name, limits } = options;
  const mode = detectCgroupMode(root);
  const missing: string[] = [];
  const membershipFiles: string[] = [];
  if (mode === 'none') return { membershipFiles, missing: ['cgroups'] };
  if (mode === 'v2') await enableControllers(root, parent);
  for (const [controller, files] of planLimits(mode, limits)) {
    const directory = join(root, controller, parent, name);
    try {
      await mkdir(directory, { recursive: true });
      for (const [file, value] of files) {
        await writeFile(join(directory, file), value).catch(() => missing.push(file));
      }
      membershipFiles.push(join(directory, 'cgroup.procs'));
    } catch {
      missing.push(controller === '' ? 'cgroups' : controller);
    }
  }
  return { membershipFiles, missing };
}

async function enableControllers(root: string, parent: string): Promise<void> {
  await mkdir(join(root, parent), { recursive: true }).catch(() => {});
  for (const directory of [root, join(root, parent)]) {
    // a controller that cannot be delegated shows as a limit that cannot be set
    for (const controller of ['memory', 'cpu', 'pids'])
      await writeFile(join(directory, 'cgroup.subtree_control'), `+${controller}`).catch(() => {});
  }
}

/** Files of an existing group, see `PreparedCgroup.membershipFiles`; empty when there is none. */
export function membershipFilesOf(parent: string, name: string, root = ROOT): readonly string[] {
  return directories(detectCgroupMode(root), root, parent, name)
    .map((directory) => join(directory, 'cgroup.procs'))
    .filter((file) => existsSync(file));
}

/** Where a group's share of a busy processor is written, in the unit of `mode`; pure. Shares are 1024 for one processor. */
export function planCpuShares(mode: CgroupMode, shares: number): readonly [file: string, value: string] | undefined {
  const bounded = Math.min(262_144, Math.max(2, Math.round(shares)));
  if (mode === 'none') return undefined;
  if (mode !== 'v2') return ['cpu.shares', String(bounded)];
  // the same mapping as container runtimes use: 2..262144 onto 1..10000
  return ['cpu.weight', String(1 + Math.floor(((bounded - 2) * 9999) / 262_142))];
}

/** Sets what a group gets of a busy processor; false when this host cannot. */
export async function setCpuShares(parent: string, name: string, shares: number, root = ROOT): Promise<boolean> {
  const mode = detectCgroupMode(root);
  const plan = planCpuShares(mode, shares);
  if (plan === undefined) return false;
  const [file, value] = plan;
  return writeFile(join(root, mode === 'v2' ? '' : 'cpu', parent, name, file), value).then(
    () => true,
    () => false,
  );
}

/** Removes a group whose processes have ended; no error when it is not there or still busy. */
export async function removeCgroup(parent: string, name: string, root = ROOT): Promise<void> {
  for (const directory of directories(detectCgroupMode(root), root, parent, name)) await rmdir(directory).catch(() => {});
}

/** Removes a parent group and all its children. */
export async function removeCgroupTree(parent: string, root = ROOT): Promise<void> {
  for (const directory of directories(detectCgroupMode(root), root, '', parent)) {
    const children = await readdir(directory, { withFileTypes: true }).catch(() => []);
    for (const child of children) if (child.isDirectory()) await rmdir(join(directory, child.name)).catch(() => {});
    await rmdir(directory).catch(() => {});
  }
}
