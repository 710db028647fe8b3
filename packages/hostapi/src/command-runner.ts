import { execFile, type ExecFileException } from 'node:child_process';
import { HostError } from './host-error.ts';

/** The whole environment of every program that the platform runs, unless a call adds to it. */
export const PROGRAM_ENV: Readonly<Record<string, string>> = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', HOME: '/' };

export interface RunOptions {
  /** Killed after this long. Default 15 s. */
  readonly timeoutMs?: number;
  /** More output than this is an error. Default 1 MiB. */
  readonly maxOutputBytes?: number;
  readonly stdin?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Exit statuses besides 0 that are answers, not errors. */
  readonly okExitCodes?: readonly number[];
}

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs programs of the host by name and argument list, never through a shell. Rejects with HostError when one cannot
 * be started, fails, exceeds its time or says too much, and with the signal's reason when aborted.
 */
export interface CommandRunner {
  run(argv: readonly [string, ...string[]], options: RunOptions, signal: AbortSignal): Promise<CommandResult>;
}

const STDERR_TAIL = 2000;
const DEFAULT_TIMEOUT_MS = 15_000;
const DEFAULT_OUTPUT_BYTES = 1024 * 1024;

/** Names the command in messages without arguments that may be long. */
export function describeCommand(argv: readonly string[]): string {
  const text = argv.slice(0, 5).join(' ');
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}

/** Runs programs on this host. */
export const hostRunner: CommandRunner = {
  run(argv, options, signal) {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
      const child = execFile(
        argv[0],
        argv.slice(1),
        {
          encoding: 'utf8',
          timeout: timeoutMs,
          killSignal: 'SIGKILL',
          maxBuffer: options.maxOutputBytes ?? DEFAULT_OUTPUT_BYTES,
          env: { ...PROGRAM_ENV, ...options.env },
          signal,
          ...(options.cwd !== undefined && { cwd: options.cwd }),
        },
        (error, stdout, stderr) => {
          if (signal.aborted) {
            reject(signal.reason);
            return;
          }
          const exitCode = error === null ? 0 : exitCodeOf(error);
          if (exitCode === 0 || (exitCode !== undefined && options.okExitCodes?.includes(exitCode))) {
            resolve({ exitCode, stdout, stderr });
            return;
          }
          reject(failure(argv, error, exitCode, stderr, timeoutMs));
        },
      );
      // a program that ends without reading its input is judged by its status
      child.stdin?.on('error', () => {});
      child.stdin?.end(options.stdin ?? '');
    });
  },
};

function exitCodeOf(error: ExecFileException): number | undefined {
  return typeof error.code === 'number' ? error.code : undefined;
}

function failure(
  argv: readonly [string, ...string[]],
  error: ExecFileException | null,
  exitCode: number | undefined,
  stderr: string,
  timeoutMs: number,
): HostError {
  const command = describeCommand(argv);
  const stderrTail = stderr.trim().slice(-STDERR_TAIL);
  const details = { command, stderrTail, cause: error, ...(exitCode !== undefined && { exitCode }) };
  if (error?.code === 'ENOENT') return new HostError(`Program "${argv[0]}" is not installed`, details);
  if (error?.code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') return new HostError(`"${command}" printed too much`, details);
  if (error?.killed) return new HostError(`"${command}" did not end within ${timeoutMs} ms`, details);
  if (exitCode === undefined) return new HostError(`"${command}" ended with ${error?.signal ?? String(error?.code)}`, details);
  // `ip -batch` ends with the number of the line that failed; the reason stands before it
  const lastLine = stderrTail.split('\n').findLast((line) => !/^Command failed -:\d+$/.test(line)) ?? '';
  return new HostError(`"${command}" failed with status ${exitCode}${lastLine === '' ? '' : `: ${lastLine}`}`, details);
}
