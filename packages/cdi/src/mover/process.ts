import { writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { systemClock } from '@slipway/runtime';
import { hostImageTools } from './host-image-tools.ts';
import { runMover } from './main.ts';
import { POLL, runPoll } from './poll.ts';

/** File descriptor that receives the outcome as one line of JSON; a file that only the node agent can name. */
const OUTCOME_FD = 3;

/** Entry point of the data mover process: progress on stdout, log on stderr, the outcome on descriptor 3. */
export async function moverProcess(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
  // timers of the clock do not keep a process alive, and between two attempts nothing else does
  setInterval(() => {}, 60_000);
  const log = (line: string): void => void process.stderr.write(`${new Date().toISOString()} ${line}\n`);
  let isTold = false;
  const tell = (outcome: object): void => {
    if (!isTold) writeSync(OUTCOME_FD, `${JSON.stringify(outcome)}\n`);
    isTold = true;
  };
  const io = {
    tools: await hostImageTools(log, stop.signal),
    clock: systemClock,
    random: Math.random,
    bootId: (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim(),
    progress: (line: string) => void process.stdout.write(`${line}\n`),
    log,
    tell,
  };
  const [mode, ...rest] = argv;
  const outcome = await (mode === POLL ? runPoll(rest, env, io, stop.signal) : runMover(argv, env, io, stop.signal));
  tell(outcome);
  process.exit(outcome.exitCode);
}
