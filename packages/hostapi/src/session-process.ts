import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { PROGRAM_ENV } from './command-runner.ts';
import { HostError } from './host-error.ts';

/** A program in a session of its own that goes on when its starter dies. */
export interface SessionProcess {
  readonly argv: readonly [string, ...string[]];
  /** stdout and stderr are appended here; its directory belongs to root alone. */
  readonly logFile: string;
}

/**
 * Starts the program and resolves with its pid once it has written a line to file descriptor 3. Rejects with HostError
 * when it ends before.
 */
export async function startSession({ argv, logFile }: SessionProcess, signal: AbortSignal): Promise<number> {
  signal.throwIfAborted();
  const log = openSync(logFile, 'a', 0o600);
  let child: ReturnType<typeof spawn>;
  try {
    child = spawn(argv[0], argv.slice(1), {
      cwd: '/',
      env: { ...PROGRAM_ENV },
      detached: true,
      stdio: ['ignore', log, log, 'pipe'],
    });
  } finally {
    closeSync(log);
  }
  const ready = child.stdio[3];
  await new Promise<void>((resolve, reject) => {
    child.once('error', (cause) => reject(new HostError(`Cannot start "${argv[0]}"`, { command: argv[0], cause })));
    ready?.once('data', () => resolve());
    ready?.once('close', () => reject(new HostError(`"${argv[0]}" ended before it was ready`, { command: argv[0] })));
  }).finally(() => (ready as Readable | null | undefined)?.destroy());
  child.unref();
  return child.pid ?? 0;
}
