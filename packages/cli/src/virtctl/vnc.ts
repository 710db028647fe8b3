import { writeFile } from 'node:fs/promises';
import { subresourcePath } from './connection.ts';
import { dialWhenRunning, warnIfPaused } from './console.ts';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import { CommandFailure, print, type VirtctlIo } from './io.ts';
import { bridgeClient, CLIENT_TIMEOUT_MS, clientTimeout, firstClient, listen } from './local-client.ts';

interface VncFlags {
  readonly proxyOnly?: boolean;
  readonly address: string;
  readonly port: string;
  readonly preserveSession?: boolean;
  readonly vncType?: string;
  readonly vncPath?: string;
  readonly file?: string;
  readonly moveCursor?: boolean;
}

/** A viewer and how it is told where to connect. */
interface Viewer {
  readonly type: string;
  readonly program: string;
  readonly args: (port: number) => readonly string[];
}

const VIEWERS: readonly Viewer[] = [
  { type: 'remote-viewer', program: 'remote-viewer', args: (port) => [`vnc://127.0.0.1:${port}`] },
  { type: 'tiger', program: 'vncviewer', args: (port) => [`127.0.0.1::${port}`] },
  { type: 'tiger', program: 'xtigervncviewer', args: (port) => [`127.0.0.1::${port}`] },
  { type: 'real', program: 'vncviewer', args: (port) => [`127.0.0.1:${port}`, '-WarnUnencrypted=0', '-Shared=0'] },
  { type: 'chicken', program: 'Chicken', args: (port) => [`127.0.0.1:${port}`] },
];
/** vnc and vnc screenshot. */
export function addVncCommand(host: CommandHost): void {
  addCommand<VncFlags>(host, {
    usage: 'vnc <vmi> [name]',
    description: 'Open the display of a virtual machine instance (or: vnc screenshot VMI --file FILE).',
    options: (command) =>
      command
        .option('--proxy-only', 'only listen, print the port as JSON')
        .option('--address <string>', 'address to listen on, with --proxy-only', '127.0.0.1')
        .option('--port <int>', 'port to listen on; 0: any', '0')
        .option('--preserve-session', 'fail instead of displacing another viewer')
        .option('--vnc-type <string>', 'tiger, chicken, real or remote-viewer')
        .option('--vnc-path <string>', 'path of the viewer')
        .option('-f, --file <string>', 'where screenshot writes the picture; - is stdout')
        .option('-m, --move-cursor', 'wake the screen before the screenshot'),
    run: (context, [first = '', second], flags) =>
      first === 'screenshot' && second !== undefined ? screenshot(context, second, flags) : view(context, first, flags),
  });
}

async function screenshot({ client, namespace, io }: ActionContext, name: string, flags: VncFlags): Promise<void> {
  if (flags.file === undefined) throw new CommandFailure('required flag(s) "file" not set');
  const path = subresourcePath(namespace, 'virtualmachineinstances', name, 'vnc/screenshot');
  const { body } = await client.raw({ method: 'GET', path, query: { moveCursor: String(flags.moveCursor === true) } });
  if (!(body instanceof Uint8Array)) throw new CommandFailure('The server has sent no picture');
  if (flags.file === '-') io.stdout.write(Buffer.from(body));
  else await writeFile(flags.file, body);
}

async function view(context: ActionContext, name: string, flags: VncFlags): Promise<void> {
  const { io } = context;
  const isProxy = flags.proxyOnly === true;
  const query = flags.preserveSession === true ? { preserveSession: 'true' } : undefined;
  const stream = await dialWhenRunning(context, name, 'vnc', CLIENT_TIMEOUT_MS, query);
  await warnIfPaused(context, name);
  await bridgeClient(stream, async (server) => {
    const port = await listen(server, isProxy ? flags.address : '127.0.0.1', Number(flags.port));
    const connected = firstClient(server);
    const viewer = isProxy ? undefined : startViewer(io, flags, port);
    if (isProxy) print(io, JSON.stringify({ port }));
    return Promise.race([connected, viewerFailure(viewer), clientTimeout(io, 'VNC')]);
  });
}

/** Fails when the viewer cannot be started; waits for ever otherwise. */
async function viewerFailure(viewer: Promise<number> | undefined): Promise<never> {
  const code = await viewer;
  if (code !== undefined && code !== 0) throw new CommandFailure(`The VNC viewer has ended with status ${code}`);
  return new Promise<never>(() => {});
}

async function startViewer(io: VirtctlIo, { vncType, vncPath }: VncFlags, port: number): Promise<number> {
  for (const { type, program, args } of VIEWERS) {
    if (vncType !== undefined && type !== vncType) continue;
    if (vncPath !== undefined) return io.runProgram([vncPath, ...args(port)]);
    if (await io.hasProgram(program)) return io.runProgram([program, ...args(port)]);
  }
  throw new CommandFailure(`No VNC viewer found: install remote-viewer or TigerVNC, or use --proxy-only and connect any viewer`);
}
