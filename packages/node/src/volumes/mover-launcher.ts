import { constants } from 'node:fs';
import { chown, lstat, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isSameProcess, type ProcessRecord, signalProcess, startDetached } from '@slipway/hostapi';
import { sleep, type TimerClock } from '@slipway/runtime';
import { codeOf } from './error-code.ts';
import { makeDirectory, writeDurably } from './volume-files.ts';

/** How a data mover ended; written by it as one line of JSON. */
export interface MoverOutcome {
  readonly exitCode: number;
  readonly message: string;
  readonly reason?: string;
  /** Present only when the destination is complete and checked. */
  readonly result?: { readonly format: 'raw' | 'qcow2'; readonly virtualBytes: number; readonly imageDigest?: string };
}

/** One run of a data mover; `outcome` and `endedAtMs` are there when it has ended. */
export interface MoverRun {
  readonly startedAtMs: number;
  readonly outcome?: MoverOutcome;
  readonly endedAtMs?: number;
}

/** What the agent remembers of one transfer across its own restarts. */
export interface MoverRecord extends MoverRun {
  readonly uid: number;
  readonly process?: ProcessRecord;
  /** How often the process was started again after a failure. */
  readonly restarts: number;
  /** The run before this one. */
  readonly last?: MoverRun;
}

export interface MoverLauncherDeps {
  readonly stateDir: string;
  /** Command that runs the data mover, for example `['node', '/…/dist/mover.mjs']`. */
  readonly program: readonly [string, ...string[]];
  /** First uid for movers. */
  readonly uidBase: number;
  readonly clock: TimerClock;
}

export interface MoverStart {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** Movers that may run at the same time. */
const UID_COUNT = 1000;
const MAX_OUTCOME_BYTES = 64 * 1024;
const TAIL_BYTES = 4096;
const POLL_MS = 50;

/** Starts data movers as unprivileged processes that outlive the agent, and finds them again afterwards. */
export class MoverLauncher {
  private readonly root: string;
  private readonly deps: MoverLauncherDeps;
  private readonly reserved = new Map<string, number>();

  constructor(deps: MoverLauncherDeps) {
    this.deps = deps;
    this.root = join(deps.stateDir, 'movers');
  }

  async open(): Promise<void> {
    await makeDirectory(this.root, 0o711);
    for (const id of await this.list()) {
      const record = await this.read(id);
      if (record !== undefined) this.reserved.set(id, record.uid);
    }
  }

  async list(): Promise<readonly string[]> {
    return readdir(this.root);
  }

  /** Directory of root for files that the mover may read. */
  directory(id: string): string {
    return join(this.root, id);
  }

  async read(id: string): Promise<MoverRecord | undefined> {
    try {
      return JSON.parse(await readFile(join(this.directory(id), 'mover.json'), 'utf8')) as MoverRecord; // written below, in a directory of root
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  async write(id: string, record: MoverRecord): Promise<void> {
    await writeDurably(join(this.directory(id), 'mover.json'), JSON.stringify(record));
  }

  /** The user of this transfer; the same one every time it is asked for. */
  async reserve(id: string): Promise<number> {
    const known = this.reserved.get(id);
    if (known !== undefined) return known;
    const taken = new Set(this.reserved.values());
    const offset = Array.from({ length: UID_COUNT }, (_, index) => index).find((index) => !taken.has(this.deps.uidBase + index));
    if (offset === undefined) throw new Error(`${UID_COUNT} transfers are running: wait for some to end`);
    const uid = this.deps.uidBase + offset;
    this.reserved.set(id, uid);
    await makeDirectory(this.directory(id), 0o710);
    await chown(this.directory(id), 0, uid);
    return uid;
  }

  async start(id: string, { args, env }: MoverStart, restarts: number): Promise<MoverRecord> {
    const uid = await this.reserve(id);
    const directory = this.directory(id);
    const process = await startDetached({
      argv: [...this.deps.program, ...args],
      cwd: '/',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', HOME: '/', ...env },
      uid,
      maxOpenFiles: 256,
      stdout: join(directory, 'progress'),
      stderr: join(directory, 'log'),
      outcome: join(directory, 'outcome'),
    });
    const before = await this.read(id);
    const record: MoverRecord = {
      ...{ uid, process, restarts, startedAtMs: this.deps.clock.now() },
      ...(before && { last: runOf(before) }),
    };
    await this.write(id, record);
    return record;
  }

  /** Waits for the end of a started process, also of one that another agent process started. */
  async wait(id: string, record: MoverRecord, onProgress: (line: string) => void, signal: AbortSignal): Promise<MoverOutcome> {
    let last = '';
    for (let round = 0; ; round++) {
      const isRunning = record.process !== undefined && isSameProcess(record.process);
      const outcome = await this.outcome(id);
      if (outcome !== undefined && !isRunning) return outcome;
      if (!isRunning) return { exitCode: 137, reason: 'Killed', message: 'The data mover was killed; it goes on where it was' };
      if (round % 10 === 0) {
        const line = await this.lastLine(id, 'progress');
        if (line !== '' && line !== last) onProgress(line);
        last = line;
      }
      await sleep(this.deps.clock, POLL_MS, signal);
    }
  }

  /** SIGTERM, and SIGKILL when that does not end it in time. */
  async stop(id: string, graceMs: number, signal: AbortSignal): Promise<void> {
    const process = (await this.read(id))?.process;
    if (process === undefined || !signalProcess(process, 'SIGTERM')) return;
    for (let waitedMs = 0; waitedMs < graceMs && isSameProcess(process); waitedMs += POLL_MS)
      await sleep(this.deps.clock, POLL_MS, signal);
    signalProcess(process, 'SIGKILL');
    while (isSameProcess(process)) await sleep(this.deps.clock, POLL_MS, signal);
  }

  /** Forgets a transfer whose process has ended. */
  async forget(id: string): Promise<void> {
    await rm(this.directory(id), { recursive: true, force: true });
    this.reserved.delete(id);
  }

  /** Last lines of the log, for people. */
  async logTail(id: string): Promise<string> {
    return (await readTail(join(this.directory(id), 'log'), 64 * 1024)).toString('utf8');
  }

  private async lastLine(id: string, name: string): Promise<string> {
    const lines = (await readTail(join(this.directory(id), name), TAIL_BYTES)).toString('utf8').split('\n');
    return lines.filter((line) => line.startsWith('{') && line.endsWith('}')).at(-1) ?? '';
  }

  private async outcome(id: string): Promise<MoverOutcome | undefined> {
    const text = (await readTail(join(this.directory(id), 'outcome'), MAX_OUTCOME_BYTES)).toString('utf8').trim();
    if (text === '') return undefined;
    try {
      return parseOutcome(JSON.parse(text));
    } catch {
      return undefined; // half written: the process was killed in this moment
    }
  }
}

const runOf = ({ startedAtMs, outcome, endedAtMs }: MoverRun): MoverRun => ({
  startedAtMs,
  ...(outcome !== undefined && { outcome }),
  ...(endedAtMs !== undefined && { endedAtMs }),
});

/** The mover read what strangers wrote: its answer is checked like theirs. */
function parseOutcome(value: unknown): MoverOutcome | undefined {
  const outcome = value as Partial<MoverOutcome> | null; // each field is checked below
  if (typeof outcome?.exitCode !== 'number' || typeof outcome.message !== 'string') return undefined;
  const { exitCode, reason, result } = outcome;
  const isResult =
    result !== undefined && (result.format === 'raw' || result.format === 'qcow2') && Number.isSafeInteger(result.virtualBytes);
  return {
    exitCode,
    message: outcome.message.slice(0, 4096),
    ...(typeof reason === 'string' && { reason: reason.slice(0, 64) }),
    ...(isResult && { result }),
  };
}

async function readTail(path: string, maxBytes: number): Promise<Buffer> {
  try {
    const { size } = await lstat(path);
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      const buffer = Buffer.alloc(Math.min(size, maxBytes));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, Math.max(0, size - maxBytes));
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return Buffer.alloc(0);
    throw error;
  }
}
