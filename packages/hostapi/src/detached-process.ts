import { spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { identifyProcess, type ProcessRecord } from './process-record.ts';

/** Threads of one user: an image tool alone takes 64 for its requests, beside those of Node.js and of its coroutines. */
const MAX_THREADS = 256;

/** An unprivileged process that outlives its starter. */
export interface DetachedProcess {
  readonly argv: readonly [string, ...string[]];
  readonly cwd: string;
  /** The whole environment, nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  /** uid and gid; no privilege can be regained. */
  readonly uid: number;
  readonly maxOpenFiles: number;
  /** Files for descriptors 1, 2 and 3, in directories that only root can write: made anew. */
  readonly stdout: string;
  readonly stderr: string;
  readonly outcome: string;
}

/** Starts the process in its own session. Throws when a file cannot be opened or the program cannot be started. */
export async function startDetached(options: DetachedProcess): Promise<ProcessRecord> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_APPEND | constants.O_NOFOLLOW;
  const files = [options.stdout, options.stderr, options.outcome].map((path) => openSync(path, flags, 0o600));
  try {
    const argv = [
      ...['setpriv', `--reuid=${options.uid}`, `--regid=${options.uid}`, '--clear-groups', '--no-new-privs'],
      ...['--inh-caps=-all', '--bounding-set=-all', '--'],
      ...['prlimit', '--core=0', `--nofile=${options.maxOpenFiles}`, `--nproc=${MAX_THREADS}`, '--memlock=0', '--'],
      ...options.argv,
    ];
    const child = spawn(argv[0] ?? '', argv.slice(1), {
      cwd: options.cwd,
      env: options.env,
      detached: true,
      stdio: ['ignore', ...files],
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
    // a child that has ended already has no identity any more, but its outcome is in the file
    return identifyProcess(child.pid ?? 0) ?? { pid: child.pid ?? 0, startTicks: -1 };
  } finally {
    for (const file of files) closeSync(file);
  }
}
