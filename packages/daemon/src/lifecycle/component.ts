import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  childPids,
  identifyProcess,
  isSameProcess,
  type ProcessRecord,
  replaceFile,
  signalProcess,
  startSupervised,
} from '@slipway/hostapi';
import type { InstancePaths } from '../instance/paths.ts';

/** One supervised process of the platform: `server`, or the agent of a node. */
export interface ComponentSpec {
  readonly name: string;
  readonly argv: readonly [string, ...string[]];
  readonly logFile: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly uid?: number;
  /** Tells one build of its program from another, and one setting of its options. */
  readonly build: string;
}

const STOP_TIMEOUT_MS = 15_000;

const recordFile = (paths: InstancePaths, name: string): string => join(paths.run, `${name}.json`);

/** The supervisor of a component if it still runs. */
export function findComponent(paths: InstancePaths, name: string): ProcessRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(recordFile(paths, name), 'utf8')) as ProcessRecord; // written by startComponent
    return isSameProcess(record) ? record : undefined;
  } catch {
    return undefined; // never started, or stopped
  }
}

/** Whether it runs from another program, or with other options, than it would be started with now. */
export function isOutdated(paths: InstancePaths, { name, build }: Pick<ComponentSpec, 'name' | 'build'>): boolean {
  const record: (ProcessRecord & { readonly build?: string }) | undefined = findComponent(paths, name);
  return record !== undefined && record.build !== build;
}

/** Pid of the component itself: the supervisor's only child. */
export function componentPid(supervisor: ProcessRecord): number | undefined {
  return childPids(supervisor.pid)[0];
}

/**
 * Starts a component unless it runs, and waits until it says that it is ready; stops it again when it does not, or when
 * aborted. The record is written before waiting: an interrupted `up` can be repeated or taken down.
 */
export async function startComponent(
  paths: InstancePaths,
  spec: ComponentSpec,
  readyTimeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  if (findComponent(paths, spec.name) !== undefined) return;
  const logStart = statSync(spec.logFile, { throwIfNoEntry: false })?.size ?? 0;
  const started = await startSupervised(spec);
  try {
    const record = identifyProcess(started.pid);
    if (record !== undefined) replaceFile(recordFile(paths, spec.name), JSON.stringify({ ...record, build: spec.build }), 0o644);
    await Promise.race([
      started.ready,
      sleep(readyTimeoutMs, undefined, { ref: false, signal }).then(() => {
        throw new Error(`It was not ready in ${readyTimeoutMs / 1000} s`);
      }),
    ]);
  } catch (cause) {
    await stopComponent(paths, spec.name);
    throw new Error(`${spec.name} did not start; the last lines of ${spec.logFile}:\n${tail(spec.logFile, 12, logStart)}`, {
      cause,
    });
  } finally {
    started.detach();
  }
}

/** Stops a component by its supervisor: SIGTERM, and SIGKILL for whatever is left after a while. True when it ran. */
export async function stopComponent(paths: InstancePaths, name: string): Promise<boolean> {
  const supervisor = findComponent(paths, name);
  if (supervisor === undefined) return false;
  const children = childPids(supervisor.pid).flatMap((pid) => identifyProcess(pid) ?? []);
  signalProcess(supervisor, 'SIGTERM');
  for (const deadline = Date.now() + STOP_TIMEOUT_MS; isSameProcess(supervisor) && Date.now() < deadline; ) await sleep(20);
  for (const record of [supervisor, ...children]) signalProcess(record, 'SIGKILL');
  rmSync(recordFile(paths, name), { force: true });
  return true;
}

/** The last lines of a log, of those after the byte `from` when that is given. */
export function tail(file: string, lines: number, from = 0): string {
  try {
    const content = readFileSync(file);
    // one that is shorter than it was has been begun anew
    const text = content.subarray(content.length < from ? 0 : from).toString();
    return text.trimEnd().split('\n').slice(-lines).join('\n') || '(no lines)';
  } catch {
    return '(no log)';
  }
}
