import { homedir } from 'node:os';
import { runVirtctl, terminalIo } from '@slipway/cli';
import { runAttached } from '@slipway/hostapi';
import { checkoutRoot } from '../checkout.ts';
import { KUBEVIRT_VERSION } from '../version.ts';

/** `slipway virt …` and the `virtctl` link: everything after the word is virtctl's. */
export async function virt(args: readonly string[]): Promise<void> {
  const io = terminalIo({
    env: process.env,
    home: homedir(),
    self: [`${checkoutRoot()}/slipway`, 'virt'],
    runProgram: (argv, more) => runAttached(argv, { env: { ...process.env, ...more } }),
    version: KUBEVIRT_VERSION,
  });
  // a reader that has seen enough, such as `head`, ends the command without a complaint
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(141);
  });
  process.exitCode = await runVirtctl(args, io);
  // Streams that a command has left open (a console's terminal) do not keep the process.
  process.stdin.pause();
}
