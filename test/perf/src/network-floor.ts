import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { writeIso } from '@slipway/virt';
import { SHELL_USER_DATA } from '../../e2e/src/guest-shell.ts';
import type { NetworkPeer } from './network-benchmark.ts';

const run = promisify(execFile);
const BRIDGE = 'swbench0';
const WAIT_MS = 240_000;

/** Two guests of QEMU alone, each by a tap on one bridge of this machine, which has an address there too. */
export interface BridgedGuests {
  readonly guests: readonly [NetworkPeer, NetworkPeer];
  stop(): Promise<void>;
}

export async function startBridgedGuests(image: string): Promise<BridgedGuests> {
  const dir = mkdtempSync('/tmp/sw-bridge-');
  const running: ChildProcess[] = [];
  const stop = async (): Promise<void> => {
    for (const child of running) {
      const ended = new Promise((resolve) => child.once('close', resolve));
      if (child.exitCode === null && child.signalCode === null && child.kill('SIGKILL')) await ended;
    }
    for (const link of ['swbench1', 'swbench2', BRIDGE]) await run('ip', ['link', 'del', link]).catch(() => {});
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    await run('ip', ['link', 'add', BRIDGE, 'type', 'bridge']);
    await run('ip', ['addr', 'add', '10.197.99.254/24', 'dev', BRIDGE]);
    await run('ip', ['link', 'set', BRIDGE, 'up']);
    const guest = async (number: number): Promise<NetworkPeer> => {
      running.push(await startGuest(number, { dir, image }));
      return answering(`10.197.99.${number}`);
    };
    return { guests: [await guest(1), await guest(2)], stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startGuest(
  number: number,
  { dir, image }: { readonly dir: string; readonly image: string },
): Promise<ChildProcess> {
  const tap = `swbench${number}`;
  await run('ip', ['tuntap', 'add', tap, 'mode', 'tap']);
  await run('ip', ['link', 'set', tap, 'master', BRIDGE, 'up']);
  const seed = join(dir, `${number}.iso`);
  // nobody leases addresses on a plain bridge
  const userData = `${SHELL_USER_DATA}  - ip addr add 10.197.99.${number}/24 dev eth0\n`;
  const encoder = new TextEncoder();
  const files = { 'meta-data': `instance-id: plain\nlocal-hostname: plain${number}\n`, 'user-data': userData };
  const parts = Object.entries(files).map(([path, text]) => ({ path, data: encoder.encode(text) }));
  writeFileSync(seed, writeIso({ label: 'cidata', files: parts }));
  return spawn(
    'qemu-system-x86_64',
    [
      ...[
        '-machine',
        'q35',
        '-accel',
        'tcg,tb-size=32',
        '-cpu',
        'max',
        '-m',
        '256',
        '-display',
        'none',
        '-no-reboot',
        '-snapshot',
      ],
      ...['-drive', `file=${image},if=virtio,format=qcow2`, '-drive', `file=${seed},if=virtio,format=raw`],
      ...['-netdev', `tap,id=n,ifname=${tap},script=no,downscript=no`],
      ...['-device', `virtio-net-pci,netdev=n,mac=52:54:00:aa:00:0${number}`, '-serial', 'null', '-monitor', 'none'],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
}

/** Resolves when the guest answers commands, as the guests of Slipway do. */
export async function answering(address: string): Promise<NetworkPeer> {
  const ask = async (command: string, timeoutMs: number): Promise<string> => {
    const url = `http://${address}/cgi-bin/run`;
    const answer = await fetch(url, { method: 'POST', body: command, signal: AbortSignal.timeout(timeoutMs) });
    if (!answer.ok) throw new Error(`The guest answered ${answer.status}`);
    return answer.text();
  };
  for (const deadline = Date.now() + WAIT_MS; ; await new Promise((resolve) => setTimeout(resolve, 200))) {
    const isUp = await ask('echo up', 5_000).then(
      (text) => text.startsWith('up'),
      () => false,
    );
    if (isUp) return { address, shell: { run: (command) => ask(command, 90_000) } };
    if (Date.now() > deadline) throw new Error(`The plain guest ${address} did not answer`);
  }
}
