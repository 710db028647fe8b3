import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hostQemuImg } from './qemu-img.ts';
import { VolumeStore } from './volume-store.ts';

const signal = new AbortController().signal;
const alive = (): boolean => false;
const USERS = { a: 2_350_011, b: 2_350_012, stranger: 2_350_013 };

let stateDir: string;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'slipshare-'));
  chmodSync(stateDir, 0o711);
});
afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

/** A directory that one sandbox alone can look into, as the volume manager makes them. */
function podDirectory(name: keyof typeof USERS): string {
  const directory = join(stateDir, name);
  mkdirSync(directory, { mode: 0o710 });
  chownSync(directory, 0, USERS[name]);
  return directory;
}

const asUser = (name: keyof typeof USERS, ...command: string[]): string =>
  execFileSync('setpriv', [`--reuid=${USERS[name]}`, `--regid=${USERS[name]}`, '--clear-groups', '--', ...command], {
    stdio: ['ignore', 'pipe', 'ignore'],
  }).toString();

describe('a disk that two VMs share', () => {
  it('is written by both and found by nobody else, until the last one gives it back', async () => {
    const store = new VolumeStore({ stateDir, qemuImg: hostQemuImg, uid: randomUUID });
    await store.open();
    const volume = randomUUID();
    await store.create(volume, 1024 * 1024);
    const pods = { a: randomUUID(), b: randomUUID() };
    const paths: Record<string, string> = {};
    for (const name of ['a', 'b'] as const) {
      await store.attach(volume, { podUid: pods[name], uid: USERS[name], isShared: true }, alive, signal);
      paths[name] = await store.linkShared(volume, podDirectory(name));
    }
    const { a = '', b = '' } = paths;
    const write = ['qemu-io', '-f', 'raw', '-c'];
    asUser('a', ...write, 'write -P 7 0 64k', a);
    asUser('b', ...write, 'write -P 8 64k 64k', b);
    expect(asUser('b', 'od', '-An', '-tx1', '-N1', b).trim()).toBe('07');
    expect(() => asUser('stranger', ...write, 'write -P 9 0 64k', a)).toThrow();
    const disk = store.activePath(volume, await store.get(volume));
    expect(() => asUser('a', 'cat', disk)).toThrow();

    await expect(store.attach(volume, { podUid: randomUUID(), uid: 1 }, alive, signal)).rejects.toThrow('already used by pod');
    await store.detach(volume, pods.a);
    expect(await store.get(volume)).toMatchObject({ writer: { podUid: pods.b } });
    await store.detach(volume, pods.b);
    expect((await store.get(volume)).writer).toBeUndefined();
    expect(statSync(disk).mode & 0o777).toBe(0o644);
  });
});
