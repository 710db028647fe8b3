import { spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { PROGRAM_ENV } from './command-runner.ts';
import { HostError } from './host-error.ts';

/** A program whose input and outputs somebody else reads and writes. */
export interface CommandProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** What the program writes to file descriptor 3. */
  readonly notes: Readable;
  /** Exit status once the program has ended and its outputs are read; a signal counts as 128 plus its number. */
  readonly ended: Promise<number>;
  /** Kills the program and everything in its process group. */
  kill(): void;
}

const SIGNALS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
};

/** Starts a program in a process group of its own. Rejects with HostError when it cannot be started. */
export async function startCommand(argv: readonly [string, ...string[]]): Promise<CommandProcess> {
  const child = spawn(argv[0], argv.slice(1), {
    cwd: '/',
    env: { ...PROGRAM_ENV },
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (cause) => reject(new HostError(`Cannot start "${argv[0]}"`, { command: argv[0], cause })));
  });
  const ended = new Promise<number>((resolve) => {
    child.once('close', (code, signal) => resolve(code ?? 128 + (SIGNALS[signal ?? ''] ?? 0)));
  });
  const notes = child.stdio[3] as Readable; // asked for above
  for (const stream of [child.stdin, child.stdout, child.stderr, notes]) stream.on('error', () => {}); // ended tells
  return {
    stdin: child.stdin,
    stdout: child.stdout,
    stderr: child.stderr,
    notes,
    ended,
    kill() {
      try {
        // the group outlives its leader: children that hold the outputs open die too
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // nobody is left
      }
    },
  };
}
