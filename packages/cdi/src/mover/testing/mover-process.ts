import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import type { MoverOutcome } from '../main.ts';
import type { MoverEnv } from '../options.ts';

/** The data mover as a program of its own, which a test can kill. */
export interface MoverProgram {
  start(argv: readonly string[], env: MoverEnv): StartedMover;
  remove(): void;
}

export interface StartedMover {
  /** Resolves when the process has ended, whatever the reason. */
  readonly ended: Promise<void>;
  readonly hasEnded: boolean;
  kill(): Promise<void>;
  /** Undefined for one that was killed before it had any. */
  outcome(): MoverOutcome | undefined;
}

/** Bundles the data mover as an installation has it. */
export async function moverProgram(): Promise<MoverProgram> {
  const directory = mkdtempSync(join(tmpdir(), 'slipmover-program-'));
  const outfile = join(directory, 'mover.mjs');
  await build({
    stdin: {
      contents: `import { moverProcess } from './process.ts'; await moverProcess(process.argv.slice(2), process.env);`,
      resolveDir: join(import.meta.dirname, '..'),
    },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    outfile,
    banner: { js: "import { createRequire as r } from 'node:module'; const require = r(import.meta.url);" },
  });
  let count = 0;
  return {
    start: (argv, env) => start(outfile, join(directory, `outcome-${++count}`), argv, env),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

function start(program: string, outcomeFile: string, argv: readonly string[], env: MoverEnv): StartedMover {
  const fd = openSync(outcomeFile, 'w');
  const child = spawn(process.execPath, [program, ...argv], {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'ignore', 'ignore', fd],
  });
  closeSync(fd);
  let hasEnded = false;
  const ended = new Promise<void>((resolve) =>
    child.once('exit', () => {
      hasEnded = true;
      resolve();
    }),
  );
  return {
    ended,
    get hasEnded() {
      return hasEnded;
    },
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
    outcome: () => {
      const text = readFileSync(outcomeFile, 'utf8');
      return text === '' ? undefined : (JSON.parse(text) as MoverOutcome); // written by the mover
    },
  };
}

/** Processes that have the file open. */
export function usersOf(path: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && filesOf(pid).includes(path));
}

function filesOf(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  } catch {
    return []; // it has ended meanwhile, or a descriptor was closed
  }
}
