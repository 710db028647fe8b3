import { homedir } from 'node:os';
import { runVirtctl, terminalIo } from '@slipway/cli';
import { runAttached } from '@slipway/hostapi';
import { KUBEVIRT_VERSION } from '../version.ts';

/** `slipway virt …` and the `virtctl` link: everything after the word is virtctl's. */
export async function virt(args: readonly string[]): Promise<void> {
  const io = terminalIo({
    env: process.env,
    home: homedir(),
    self: [process.execPath, process.argv[1] ?? 'slipway', 'virt'],
    version: KUBEVIRT_VERSION,
    runProgram: (argv) => runAttached(argv),
  });
  const status = await runVirtctl(args, io);
  // an open terminal or tunnel must not keep the process; what was printed must arrive first
  process.stdout.write('', () => process.exit(status));
}
