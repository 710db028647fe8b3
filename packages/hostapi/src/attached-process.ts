import { spawn } from 'node:child_process';

export interface AttachedOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Lines of stdout go here instead of the terminal. */
  readonly onStdout?: (line: string) => void;
}

/** Runs a program on the caller's terminal and returns its exit status; a signal counts as 128 plus its number. */
export function runAttached(argv: readonly [string, ...string[]], options: AttachedOptions = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0], argv.slice(1), {
      ...(options.cwd !== undefined && { cwd: options.cwd }),
      ...(options.env && { env: options.env }),
      stdio: ['inherit', options.onStdout ? 'pipe' : 'inherit', 'inherit'],
    });
    let rest = '';
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) options.onStdout?.(line);
    });
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (rest !== '') options.onStdout?.(rest);
      resolve(code ?? (signal === null ? 1 : 128));
    });
  });
}
