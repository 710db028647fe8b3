import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostRunner } from '@slipway/hostapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildGuestImage, type GuestImage, type GuestImageKind } from './index.ts';

const signal = AbortSignal.timeout(280_000);
const cacheDir = join(import.meta.dirname, '../../../.cache/guest-images');
const build = (kind: GuestImageKind): Promise<GuestImage> => buildGuestImage({ kind, cacheDir, runner: hostRunner }, signal);

/** A guest on the serial console: `expect` resolves with everything up to the text. */
class SerialGuest {
  #text = '';
  readonly #child: ChildProcess;
  #wake: () => void = () => {};

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text;
      this.#wake();
    });
  }

  async expect(text: string): Promise<string> {
    while (!this.#text.includes(text)) {
      if (this.#child.exitCode !== null) throw new Error(`The guest ended before "${text}": ${this.#text}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const end = this.#text.indexOf(text) + text.length;
    const seen = this.#text.slice(0, end);
    this.#text = this.#text.slice(end);
    return seen;
  }

  send(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }
}

async function ask(socketPath: string, line: string): Promise<string> {
  const socket = connect(socketPath);
  socket.write(`${line}\n`);
  const [answer] = (await once(socket.setEncoding('utf8'), 'data')) as [string]; // strings, because of the encoding
  socket.destroy();
  return answer;
}

describe.each([
  ['tiny', ['-device', 'virtio-blk-pci,drive=root', '-device', 'virtio-net-pci,netdev=net,romfile=']],
  ['tiny-generic', ['-device', 'ide-hd,drive=root', '-device', 'e1000e,netdev=net,romfile=']],
] as const)('guest image %s', (kind, devices) => {
  let directory = '';
  let child: ChildProcess | undefined;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'slipway-guest-'));
  });
  afterAll(async () => {
    child?.kill('SIGKILL');
    await rm(directory, { recursive: true, force: true });
  });

  it('boots, logs in, answers the agent, has an address and powers off', async () => {
    const image = await build(kind);
    const agent = join(directory, 'agent');
    const monitor = join(directory, 'qmp');
    child = spawn(
      'qemu-system-x86_64',
      [
        ...[
          '-machine',
          'q35,accel=tcg',
          '-cpu',
          'max',
          '-m',
          '256',
          '-display',
          'none',
          '-nodefaults',
          '-serial',
          'stdio',
          '-snapshot',
        ],
        ...['-drive', `if=none,id=root,format=raw,file=${image.rawPath}`, '-netdev', 'user,id=net,restrict=on', ...devices],
        ...['-device', 'virtio-serial', '-chardev', `socket,path=${agent},server=on,wait=off,id=agent`],
        ...['-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0'],
        ...['-qmp', `unix:${monitor},server=on,wait=off`],
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    const guest = new SerialGuest(child);
    await guest.expect('tiny login: ');
    guest.send('slipway');
    await guest.expect('Password: ');
    guest.send('slipway');
    await guest.expect('$ ');
    guest.send('sudo id -u; until ip addr | grep -q 10.0.2.15; do sleep 0.2; done; echo address-o""k');
    expect(await guest.expect('address-ok')).toMatch(/\n0\r?\n/);
    guest.send('until wget -q -O - http://localhost/; do sleep 0.2; done; pidof qemu-ga && echo agent-o""k');
    expect(await guest.expect('agent-ok')).toMatch(/\ntiny\r?\n/);
    expect(await ask(agent, '{"execute":"guest-ping"}')).toContain('"return"');
    const ended = once(child, 'exit');
    // stays connected: QEMU forgets commands of a client that left
    const power = connect(monitor).resume();
    power.write('{"execute":"qmp_capabilities"}{"execute":"system_powerdown"}\n');
    expect(await ended).toEqual([0, null]);
    power.destroy();
  }, 280_000);
});
