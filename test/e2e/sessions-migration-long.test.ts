// What people have open with a guest while it moves to another node: console, display and forwarded ports.
import { connect, type Socket } from 'node:net';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GuestShell, guestShell, shellVm } from './src/guest-shell.ts';
import { instanceFile, move } from './src/moving-guest.ts';
import { freePort, guestImage, type Platform, ROOT, startPlatform } from './src/platform.ts';
import { openScreen } from './src/screen-client.ts';
import { stayingCommand } from './src/staying-command.ts';
import { openTerminal } from './src/terminal.ts';

/** `SLIPWAY_E2E_LONG=1`: a boot and four migrations. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const NAME = 'mover';
const ENTER = 0xff0d;
const PATIENCE_MS = 120_000;

describe.skipIf(!isLong)('sessions with a guest that moves', () => {
  let platform: Platform;
  let images: ImageServer;
  let shell: GuestShell;
  const stops: (() => void)[] = [];
  const env = () => ({ ...process.env, KUBECONFIG: platform.kubeconfig });
  let count = 0;
  const moveAgain = () => move(platform, `sessions-${++count}`, NAME);

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    platform = await startPlatform({ nodes: 2 });
    images = await serveImages({ '/tiny.qcow2': qcow2Path }, instanceFile(platform).link.hostV4);
    await platform.apply({
      apiVersion: 'migrations.kubevirt.io/v1alpha1',
      kind: 'MigrationPolicy',
      metadata: { name: 'pace' },
      spec: { selectors: { virtualMachineInstanceSelector: { app: NAME } }, completionTimeoutPerGiB: 600 },
    });
    await platform.apply(shellVm(NAME, `${images.url}/tiny.qcow2`, { memory: '128Mi' }));
    shell = await guestShell(platform, NAME);
  });
  afterAll(async () => {
    for (const stop of stops) stop();
    await images?.close();
    await platform?.destroy();
  });

  /** A virtctl command that stays: resolves when it has printed the pattern. */
  const staying = (pattern: RegExp, ...args: string[]): Promise<void> => {
    const { printed, stop } = stayingCommand(pattern, args, env());
    stops.push(stop);
    return printed;
  };

  it('shows its screen and takes keys, there and back', async () => {
    const port = await freePort();
    await staying(/"port"/, 'vnc', NAME, '--proxy-only', '--port', String(port));
    const screen = await openScreen(port);
    stops.push(() => screen.close());
    const keyInterrupts = async (): Promise<number> =>
      Number((await shell.run(`awk '/i8042/ && !n++ { print $2 }' /proc/interrupts`)).trim());
    /** What the guest writes is seen, and what is typed gets to it. */
    const isAlive = async (): Promise<void> => {
      screen.forget();
      await shell.run('i=0; while [ $i -lt 30 ]; do echo "line $i $RANDOM" > /dev/tty0; i=$((i+1)); done');
      expect(await screen.nextUpdate()).toBeGreaterThan(0);
      const before = await keyInterrupts();
      screen.type(ENTER);
      await expect.poll(keyInterrupts, { timeout: PATIENCE_MS }).toBeGreaterThan(before);
    };
    expect(await screen.nextUpdate()).toBe(screen.width * screen.height);
    await isAlive();
    for (const _ of ['there', 'back']) {
      screen.forget();
      await moveAgain();
      // the next server is asked for all of it
      while ((await screen.nextUpdate()) < screen.width * screen.height) expect(screen.end).toBeUndefined();
      await isAlive();
    }
    expect(screen.end).toBeUndefined();
  });

  it('keeps its console and its forwarded ports', async () => {
    const terminal = openTerminal([`${ROOT}/slipway`, 'virt', 'console', NAME], env());
    stops.push(() => terminal.close());
    await terminal.expect(/Successfully connected/);
    terminal.type('\n');
    await terminal.expect(/login: $/);
    // what is said to this port comes back
    await shell.run('nc -ll -p 5000 -e cat < /dev/null > /dev/null 2>&1 &');
    const [http, echo] = [await freePort(), await freePort()];
    await staying(/forwarding .* to 5000/, 'port-forward', `vmi/${NAME}`, `${http}:80`, `${echo}:5000`);
    const open = await connection(echo);
    stops.push(() => open.socket.destroy());
    open.socket.write('first\n');
    await open.heard(/first/);
    for (const way of ['there', 'back']) {
      await moveAgain();
      // a new connection, at once
      expect((await fetch(`http://127.0.0.1:${http}/`, { signal: AbortSignal.timeout(PATIENCE_MS) })).status).toBe(200);
      await shell.run(`echo console-${way} > /dev/ttyS0`);
      await terminal.expect(new RegExp(`console-${way}`), PATIENCE_MS);
      // and the connection that was open all the time
      open.socket.write(`${way}\n`);
      await open.heard(new RegExp(way));
    }
  });
});

interface Connection {
  readonly socket: Socket;
  heard(pattern: RegExp): Promise<void>;
}

async function connection(port: number): Promise<Connection> {
  const socket = connect(port, '127.0.0.1');
  let [text, end] = ['', ''];
  let waiter: (() => void) | undefined;
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    waiter?.();
  });
  socket.on('error', (error) => (end = error.message));
  socket.on('close', () => {
    end ||= 'closed';
    waiter?.();
  });
  return {
    socket,
    async heard(pattern) {
      const deadline = AbortSignal.timeout(PATIENCE_MS);
      while (!pattern.test(text)) {
        if (end !== '' || deadline.aborted) throw new Error(`No ${pattern} in ${JSON.stringify(text)}; ${end}`);
        await new Promise<void>((resolve) => {
          waiter = resolve;
          deadline.addEventListener('abort', () => resolve(), { once: true });
        });
      }
    },
  };
}
