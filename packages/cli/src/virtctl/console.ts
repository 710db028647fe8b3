import { VirtualMachineInstanceKind } from '@slipway/api';
import { isNotFound, StatusError } from '@slipway/apimachinery';
import type { MessageStream } from '@slipway/client';
import { subresourcePath } from './connection.ts';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import { CommandFailure, print, warn } from './io.ts';
import { pump, writeTo } from './pump.ts';

/** Ctrl+], which Ctrl+5 also sends. */
const ESCAPE = 29;
const RETRY_MS = 1_000;
const PROTOCOLS = ['plain.kubevirt.io'];

/** console: the guest's serial console on this terminal. */
export function addConsoleCommand(host: CommandHost): void {
  addCommand<{ timeout: string }>(host, {
    usage: 'console <vmi>',
    description: 'Connect to the serial console of a virtual machine instance.',
    options: (command) => command.option('--timeout <int>', 'how long to wait for the instance to run', '5'),
    run: async (context, [name = ''], { timeout }) => {
      const minutes = Number(timeout);
      if (!(minutes >= 0)) throw new CommandFailure(`invalid argument "${timeout}" for "--timeout" flag`);
      const stream = await dialWhenRunning(context, name, 'console', minutes * 60_000);
      await attach(context, name, stream);
    },
  });
}

async function attach(context: ActionContext, name: string, stream: MessageStream): Promise<void> {
  const { io } = context;
  const { stdin, stdout } = io;
  print(io, `Successfully connected to ${name} console. The escape sequence is ^]`);
  await warnIfPaused(context, name);
  const isTerminal = stdin.isTTY === true;
  if (isTerminal) stdin.setRawMode?.(true);
  try {
    await pump(stream, { input: bytesOf(stdin), write: (data) => writeTo(stdout, data) }, beforeEscape);
  } catch (error) {
    warn(
      io,
      `\nYou were disconnected from the console. This has one of the following reasons:\n - another user connected to the console of the target vm\n - network issues`,
    );
    throw error;
  } finally {
    if (isTerminal) stdin.setRawMode?.(false);
    stdin.pause();
  }
}

/** Input up to the escape sequence; undefined when the escape is all there is. */
function beforeEscape(data: Uint8Array): Uint8Array | undefined {
  return data.includes(ESCAPE) ? undefined : data;
}

async function* bytesOf(stream: NodeJS.ReadableStream): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const piece of stream) yield typeof piece === 'string' ? Buffer.from(piece) : piece;
}

/** A paused guest shows nothing: say so instead of leaving the user before an empty screen. */
export async function warnIfPaused({ client, namespace, io }: ActionContext, name: string): Promise<void> {
  try {
    const vmi = await client.get(VirtualMachineInstanceKind, { namespace, name });
    const isPaused = (vmi.status?.conditions ?? []).some(({ type, status }) => type === 'Paused' && status === 'True');
    if (isPaused) warn(io, `\rWarning: ${name} is paused. Console will be active after unpause.`);
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
  }
}

/** Opens a stream of the instance; waits while the guest is not running yet. */
export async function dialWhenRunning(
  { client, namespace, io }: ActionContext,
  name: string,
  subresource: string,
  timeoutMs: number,
  query: Readonly<Record<string, string>> = {},
): Promise<MessageStream> {
  const path = subresourcePath(namespace, 'virtualmachineinstances', name, subresource);
  const deadline = io.now() + timeoutMs;
  for (let attempt = 0; ; attempt++) {
    try {
      return await client.connect({ path, protocols: PROTOCOLS, query });
    } catch (error) {
      if (!isNotYet(error)) throw readable(error, name);
      if (io.now() + RETRY_MS > deadline)
        throw new CommandFailure(`Can't connect to websocket: timeout waiting for ${name} to run: ${error.message}`);
      if (attempt === 0) warn(io, `Waiting for ${name} to run, at most ${Math.round(timeoutMs / 60_000)} minutes`);
      await io.sleep(RETRY_MS);
    }
  }
}

function isNotYet(error: unknown): error is StatusError {
  return (
    error instanceof StatusError &&
    error.code === 400 &&
    /because phase is (|Pending|Scheduling|Scheduled) instead/.test(error.message)
  );
}

function readable(error: unknown, name: string): unknown {
  if (error instanceof StatusError && isNotFound(error)) return new CommandFailure(`Can't access VMI ${name}: ${error.message}`);
  return error;
}
