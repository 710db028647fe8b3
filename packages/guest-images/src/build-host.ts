import type { CommandRunner } from '@slipway/hostapi';

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** What building an image needs from the machine. */
export interface BuildHost {
  /** Runs a program and returns its standard output; throws when it fails. */
  run(argv: readonly [string, ...string[]], options: RunOptions): Promise<string>;
  /** Says what is being done now, for people. */
  progress(message: string): void;
}

const LONGEST_STEP_MS = 30 * 60_000;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/** The machine this process runs on. */
export function buildHost(runner: CommandRunner, onProgress: (message: string) => void): BuildHost {
  let last = '';
  return {
    async run(argv, { signal, ...options }) {
      return (await runner.run(argv, { ...options, timeoutMs: LONGEST_STEP_MS, maxOutputBytes: MAX_OUTPUT_BYTES }, signal))
        .stdout;
    },
    progress(message) {
      if (message !== last) onProgress(message);
      last = message;
    },
  };
}
