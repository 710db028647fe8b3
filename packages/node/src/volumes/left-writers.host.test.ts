import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hostQemuImg } from './qemu-img.ts';
import { VolumeStore } from './volume-store.ts';

const signal = new AbortController().signal;
const OLD_UID = 2_350_021;
const NEW_UID = 2_350_022;

let stateDir: string;
let writer: ChildProcess | undefined;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'slipleft-'));
  chmodSync(stateDir, 0o711);
});
afterEach(async () => {
  await end();
  rmSync(stateDir, { recursive: true, force: true });
});

async function end(): Promise<void> {
  if (writer === undefined || writer.exitCode !== null || writer.signalCode !== null) return;
  const ended = once(writer, 'exit');
  writer.kill('SIGKILL');
  await ended;
}

/** A process of the user that has the disk open until it is killed. */
async function openAs(uid: number, path: string, how: '<' | '<>'): Promise<void> {
  const command = ['sh', '-c', `exec 3${how}"$0" && echo open && read -r _`, path];
  writer = spawn('setpriv', [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--', ...command], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  if (writer.stdout)
    await Promise.race([once(writer.stdout, 'data'), once(writer, 'exit').then(() => Promise.reject(new Error('It ended')))]);
}

describe('a disk whose pod is gone', () => {
  const old = { podUid: randomUUID(), uid: OLD_UID, holder: 'virtual machine instance default/old' };
  const next = { podUid: randomUUID(), uid: NEW_UID };
  const isGone = (podUid: string): boolean => podUid === old.podUid;

  it.each([
    ['writes it', '<>'],
    ['ended', undefined],
    ['only reads it', '<'],
  ] as const)('is given to another one, unless a process of the old one %s', async (_, mode) => {
    const store = new VolumeStore({ stateDir, qemuImg: hostQemuImg, uid: randomUUID });
    await store.open();
    const volume = randomUUID();
    await store.create(volume, 1024 * 1024);
    const record = await store.attach(volume, old, isGone, signal);
    if (mode !== undefined) await openAs(OLD_UID, store.activePath(volume, record), mode);
    if (mode === '<>') {
      const refused = store.attach(volume, next, isGone, signal);
      await expect(refused).rejects.toThrow(/used by process \d+ \(sh\) of virtual machine instance default\/old/);
      expect(await store.get(volume)).toMatchObject({ writer: { podUid: old.podUid } });
      await end();
    }
    await store.attach(volume, next, isGone, signal);
    expect(await store.get(volume)).toMatchObject({ writer: next });
  });
});
