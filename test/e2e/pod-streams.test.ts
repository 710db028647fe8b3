// exec, attach, port-forward and logs of a launcher pod, as kubectl asks for them.
import { type ImageServer, serveImages } from '@slipway/daemon';
import { spawn } from 'node:child_process';
import { createConnection } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importedVm } from './src/manifests.ts';
import { guestImage, type Platform, startPlatform } from './src/platform.ts';
import { openTerminal } from './src/terminal.ts';

const SPDY = { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' };

describe('streams of a launcher pod', () => {
  let platform: Platform;
  let images: ImageServer;
  let pod = '';

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    images = await serveImages({ '/tiny.qcow2': qcow2Path });
    platform = await startPlatform();
    await platform.apply(importedVm('web', `${images.url}/tiny.qcow2`));
    await platform.until<{ status?: { phase?: string } }>('vmi web', ({ status }) => status?.phase === 'Running', 120_000);
    pod = (await platform.kubectl('get', 'pods', '-l', 'kubevirt.io=virt-launcher', '-o', 'name')).trim();
  });
  afterAll(async () => {
    await images?.close();
    await platform?.destroy();
  });

  const environment = (): NodeJS.ProcessEnv => ({ ...process.env, KUBECONFIG: platform.kubeconfig });

  it('runs commands in the sandbox, without any privilege', async () => {
    const facts = await platform.kubectl(
      'exec',
      pod,
      '--',
      'sh',
      '-c',
      'id -u; id -G; pwd; grep -E "^(Cap|NoNewPrivs)" /proc/self/status',
    );
    const [uid, groups, directory, ...status] = facts.trim().split('\n');
    expect(Number(uid)).toBeGreaterThan(1000);
    expect([groups, directory]).toEqual([uid, '/run/vm']);
    expect(status.filter((line) => line.startsWith('Cap')).every((line) => /\t0+$/.test(line))).toBe(true);
    expect(status).toContain('NoNewPrivs:\t1');
    const processes = await platform.kubectl('exec', pod, '--', 'ps', '-eo', 'args');
    expect(processes).toContain('qemu-system');
    expect(processes).not.toContain('slipway');
    expect((await platform.kubectl('exec', pod, '--', 'ls', '/sys/class/net')).split('\n')).toContain('lo');
  });

  it('gives exit codes, takes input, and says what is missing', async () => {
    expect((await platform.tryKubectl('exec', pod, '--', 'sh', '-c', 'exit 3')).code).toBe(3);
    expect((await platform.tryKubectl('exec', pod, '--', 'no-such-program')).code).not.toBe(0);
    const denied = await platform.tryKubectl('exec', pod, '--', 'cat', '/etc/shadow');
    expect([denied.code, denied.stderr]).toEqual([1, expect.stringContaining('Permission denied')]);
  });

  it('has a terminal of the size of the client', async () => {
    const terminal = openTerminal(['kubectl', 'exec', '-it', pod, '--', 'sh'], environment());
    try {
      terminal.type('tty; stty size; echo six times seven is $((6*7))\n');
      await terminal.expect(/\/dev\/pts\/\d+/);
      await terminal.expect(/six times seven is 42/);
    } finally {
      terminal.close();
    }
  });

  it('shows the console of the guest and types on it', async () => {
    const attached = openTerminal(['kubectl', 'attach', '-it', pod], environment());
    try {
      attached.type('\n');
      await attached.expect(/login:/);
      attached.type('demo\n');
      await attached.expect(/[Pp]assword:/);
      attached.type('secret\n');
      await attached.expect(/\$ |# /);
      // what the next tests talk to, each to a port of its own: between two connections nobody listens for a moment
      attached.type(
        'for p in 8080 8081; do (while :; do echo greetings from the guest | nc -l -p $p; done) & done; echo listens: $((40+2))\n',
      );
      await attached.expect(/listens: 42/);
    } finally {
      attached.close();
    }
    expect(await platform.kubectl('logs', pod)).toContain('login:');
    expect(await platform.kubectl('logs', pod, '--timestamps', '--tail=1')).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z /);
    expect(await platform.kubectl('logs', pod, '--since-time=2100-01-01T00:00:00Z')).toBe('');
  });

  it.each([
    ['WebSocket', {}, 8080],
    ['SPDY', SPDY, 8081],
  ])('reaches a port of the guest over %s', async (_name, env, guestPort) => {
    const child = spawn('kubectl', ['port-forward', pod, `:${guestPort}`], {
      env: { ...environment(), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    try {
      let text = '';
      const port = await new Promise<number>((resolve, reject) => {
        const onText = (chunk: Buffer): void => {
          text += chunk.toString();
          const match = /Forwarding from 127\.0\.0\.1:(\d+)/.exec(text);
          if (match !== null) resolve(Number(match[1]));
        };
        child.stdout.on('data', onText);
        child.stderr.on('data', onText);
        child.once('exit', () => reject(new Error(text)));
      });
      const banner = await new Promise<string>((resolve, reject) => {
        const socket = createConnection({ host: '127.0.0.1', port });
        socket.once('data', (chunk) => {
          resolve(chunk.toString());
          socket.destroy();
        });
        socket.once('error', reject);
        socket.once('close', () => reject(new Error(`The connection was closed: ${text}`)));
      });
      expect(banner).toBe('greetings from the guest\n');
    } finally {
      child.kill();
    }
  });
});
