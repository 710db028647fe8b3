import { dialWhenRunning } from './console.ts';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import { CommandFailure, print } from './io.ts';
import { bridgeClient, CLIENT_TIMEOUT_MS, clientTimeout, firstClient, listen } from './local-client.ts';

interface UsbredirFlags {
  readonly launch: boolean;
}

/** `vendor:product` in hexadecimal or `bus-device`. */
const DEVICE = /^([0-9a-f]{1,4}:[0-9a-f]{1,4}|\d{1,3}-\d{1,3})$/i;

/** usbredir: gives a USB device of this machine to a guest. */
export function addUsbredirCommand(host: CommandHost): void {
  addCommand<UsbredirFlags>(host, {
    usage: 'usbredir <device> [vmi]',
    description: 'Redirect a USB device (vendor:product or bus-device) to a virtual machine instance.',
    options: (command) => command.option('--no-launch', 'do not start usbredirect; the only argument is the instance'),
    run: redirect,
  });
}

async function redirect(
  context: ActionContext,
  [first = '', second]: readonly string[],
  { launch }: UsbredirFlags,
): Promise<void> {
  const { io } = context;
  const name = launch ? second : first;
  if (name === undefined || (!launch && second !== undefined))
    throw new CommandFailure(
      launch ? 'usbredir needs a device and the name of an instance' : 'with --no-launch, give the instance alone',
    );
  if (launch && !DEVICE.test(first)) throw new CommandFailure(`"${first}" is no USB device: write vendor:product or bus-device`);
  if (launch && !(await io.hasProgram('usbredirect')))
    throw new CommandFailure('usbredirect is not installed: install the package usbredirect, or use --no-launch');
  const stream = await dialWhenRunning(context, name, 'usbredir', CLIENT_TIMEOUT_MS);
  await bridgeClient(stream, async (server) => {
    const address = `localhost:${await listen(server, 'localhost', 0)}`;
    const connected = firstClient(server);
    if (!launch) print(io, `User can connect usbredir client at: ${address}`);
    const program = launch ? io.runProgram(['usbredirect', '--device', first, '--to', address]) : undefined;
    return Promise.race([connected, ended(program), clientTimeout(io, 'usbredir')]);
  });
}

/** Rejects when usbredirect ends before it has connected. */
async function ended(program: Promise<number> | undefined): Promise<never> {
  if (program === undefined) return new Promise<never>(() => {});
  throw new CommandFailure(`usbredirect has ended with status ${await program}: is the device there, and may you open it?`);
}
