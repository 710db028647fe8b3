import type { CommandResult, CommandRunner, RunOptions } from './command-runner.ts';
import { HostError } from './host-error.ts';

export interface FakeCall {
  readonly argv: readonly string[];
  readonly stdin: string | undefined;
}

/** What a fake program answers: its stdout, a whole result, or an exit status other than 0 as a failure. */
export type FakeAnswer = string | Partial<CommandResult>;

export interface FakeRunner extends CommandRunner {
  /** Everything that was run, in order. */
  readonly calls: readonly FakeCall[];
}

/** A runner for tests: records the calls and answers by the function; undefined means success without output. */
export function fakeRunner(
  answer: (argv: readonly string[], options: RunOptions) => FakeAnswer | undefined = () => '',
): FakeRunner {
  const calls: FakeCall[] = [];
  return {
    calls,
    async run(argv, options, signal) {
      signal.throwIfAborted();
      calls.push({ argv, stdin: options.stdin === undefined ? undefined : Buffer.from(options.stdin).toString('utf8') });
      const given = answer(argv, options) ?? '';
      const result: CommandResult = {
        exitCode: 0,
        stdout: '',
        stderr: '',
        ...(typeof given === 'string' ? { stdout: given } : given),
      };
      if (result.exitCode === 0 || options.okExitCodes?.includes(result.exitCode)) return result;
      throw new HostError(`"${argv.join(' ')}" failed with status ${result.exitCode}`, {
        command: argv.join(' '),
        exitCode: result.exitCode,
        stderrTail: result.stderr,
      });
    },
  };
}
