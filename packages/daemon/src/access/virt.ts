import { homedir } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { runVirtctl, type VirtctlIo } from '@slipway/cli';
import { runAttached } from '@slipway/hostapi';
import { checkoutRoot } from '../checkout.ts';
import { findProgram } from '../doctor/programs.ts';
import { KUBEVIRT_VERSION } from '../version.ts';

/** `slipway virt …` and the `virtctl` link: everything after the word is virtctl's. */
export async function virt(args: readonly string[]): Promise<void> {
  const io: VirtctlIo = {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    home: homedir(),
    self: [`${checkoutRoot()}/slipway`, 'virt'],
    runProgram: (argv) => runAttached(argv),
    hasProgram: async (name) => findProgram(name) !== undefined,
    sleep: (ms, signal) => delay(ms, undefined, signal ? { signal } : {}),
    now: Date.now,
    version: KUBEVIRT_VERSION,
  };
  process.exitCode = await runVirtctl(args, io);
  // Streams that a command has left open (a console's terminal) do not keep the process.
  process.stdin.pause();
}
