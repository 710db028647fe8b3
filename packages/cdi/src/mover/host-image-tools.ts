import { once } from 'node:events';
import { ProgramError, type StreamProcess, streamProcess } from '@slipway/hostapi';
import type { ImageTools, ToolLimits } from './image-tools.ts';

/** Puts a program into a network namespace of its own, where nothing is reachable. */
const WITHOUT_NETWORK = ['unshare', '--map-root-user', '--net', '--'];

/** A tool that outlived a killed mover would write a disk that somebody else writes by then. */
const WITH_THE_MOVER = ['setpriv', '--pdeathsig=KILL', '--'];

/**
 * Image tools as child processes with limits. The mover that starts them is unprivileged already; where the kernel allows
 * it, they lose the network too. Where it does not, the image rules alone keep an image from naming anything remote.
 */
export async function hostImageTools(log: (line: string) => void, signal: AbortSignal): Promise<ImageTools> {
  const canUnshare = await streamToEnd(streamProcess(['unshare', '--map-root-user', '--net', '--', 'true'], signal)).then(
    () => true,
    () => false,
  );
  if (!canUnshare) log('user namespaces are not available: image tools run without a network namespace of their own');
  const isolation = [...(canUnshare ? WITHOUT_NETWORK : []), ...WITH_THE_MOVER];
  return {
    run: (argv, limits, runSignal) => runLimited([...limitArguments(limits), ...isolation, ...argv], limits, runSignal),
    filter: (argv, input, filterSignal) =>
      filterThrough([...limitArguments(FILTER_LIMITS), ...isolation, ...argv], input, filterSignal),
  };
}

const FILTER_LIMITS = { cpuSeconds: 4 * 3600, addressSpaceBytes: 2 * 1024 ** 3 };

const limitArguments = ({
  cpuSeconds,
  addressSpaceBytes,
}: Pick<ToolLimits, 'cpuSeconds' | 'addressSpaceBytes'>): [string, ...string[]] => [
  'prlimit',
  `--cpu=${cpuSeconds}`,
  `--as=${addressSpaceBytes}`,
  '--core=0',
  '--nofile=64',
  '--',
];

async function runLimited(argv: string[], limits: ToolLimits, signal: AbortSignal): Promise<string> {
  const deadline = AbortSignal.timeout(limits.deadlineMs);
  const started = streamProcess(argv as [string, ...string[]], AbortSignal.any([signal, deadline]));
  started.stdin.end();
  let output = '';
  try {
    for await (const text of started.stdout.setEncoding('utf8') as AsyncIterable<string>) {
      limits.onOutput?.(text);
      output = (output + text).slice(-MAX_OUTPUT);
    }
    await started.done;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ProgramError && error.exitCode !== undefined && limits.acceptedStatuses?.includes(error.exitCode))
      return output;
    if (deadline.aborted) throw new Error(`the program took longer than ${limits.deadlineMs / 1000} s`, { cause: error });
    throw error;
  }
  return output;
}

/** Enough for `qemu-img info` of any honest image. */
const MAX_OUTPUT = 1024 * 1024;

async function streamToEnd(started: StreamProcess): Promise<void> {
  started.stdin.end();
  started.stdout.resume();
  await started.done;
}

async function* filterThrough(argv: string[], input: AsyncIterable<Buffer>, signal: AbortSignal): AsyncGenerator<Buffer> {
  const started = streamProcess(argv as [string, ...string[]], signal);
  const feeding = feed(started, input);
  feeding.catch(() => started.kill());
  try {
    yield* started.stdout as AsyncIterable<Buffer>;
    await feeding;
    await started.done;
  } catch (error) {
    await feeding; // a failed input explains the failed program
    await started.done;
    throw error;
  } finally {
    started.kill();
  }
}

async function feed({ stdin, done }: StreamProcess, input: AsyncIterable<Buffer>): Promise<void> {
  for await (const chunk of input) {
    if (stdin.destroyed || stdin.writableEnded) continue; // read on: the caller hashes what passes
    if (!stdin.write(chunk)) await Promise.race([once(stdin, 'drain'), once(stdin, 'close'), done.catch(() => {})]);
  }
  stdin.end();
}
