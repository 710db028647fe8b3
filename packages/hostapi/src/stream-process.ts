import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';

export interface StreamProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Resolves when the program ended with status 0; rejects with the end of its stderr, or with the system error of the start. */
  readonly done: Promise<void>;
  kill(): void;
}

/** A program that did not end with status 0; the message is the end of its stderr. */
export class ProgramError extends Error {
  /** Absent when a signal ended it. */
  readonly exitCode: number | undefined;

  constructor(message: string, exitCode: number | undefined) {
    super(message);
    this.name = 'ProgramError';
    this.exitCode = exitCode;
  }
}

const STDERR_BYTES = 2000;

/** Starts a program whose input and output are streams; killed when the signal is aborted. */
export function streamProcess(argv: readonly [string, ...string[]], signal: AbortSignal): StreamProcess {
  const child: ChildProcessByStdio<Writable, Readable, Readable> = spawn(argv[0], argv.slice(1), {
    stdio: ['pipe', 'pipe', 'pipe'],
    signal,
    killSignal: 'SIGKILL',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-STDERR_BYTES);
  });
  // a program that ends before its input did is reported by its status, not by the broken pipe
  child.stdin.on('error', () => {});
  const done = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, killedBy) => {
      if (code === 0) resolve();
      else reject(new ProgramError(stderr.trim() || `${argv[0]} ended with ${killedBy ?? `status ${code}`}`, code ?? undefined));
    });
  });
  done.catch(() => {}); // also reported to whoever awaits it later
  return { stdin: child.stdin, stdout: child.stdout, done, kill: () => child.kill('SIGKILL') };
}
