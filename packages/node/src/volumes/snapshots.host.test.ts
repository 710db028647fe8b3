import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, lstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hostQemuImg, type QemuImg } from './qemu-img.ts';
import type { LiveDisks } from './snapshot-volume.ts';
import { VolumeStore } from './volume-store.ts';

const MiB = 1024 * 1024;
const POD = '11111111-1111-4111-8111-111111111111';
const UID = 2_350_007;
const signal = new AbortController().signal;

let stateDir: string;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'slipsnap-'));
  chmodSync(stateDir, 0o711);
});
afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

/** Where the agent is killed; each is passed once. */
type CrashPoint = 'overlay before' | 'overlay after' | 'pivot before' | 'pivot after' | 'never';

class Killed extends Error {}

/** A guest as the agent sees it: the file it writes is known to itself alone. */
class Guest implements LiveDisks {
  file: string | undefined;
  crash: CrashPoint = 'never';
  private readonly blocks = new Map<number, number>();

  isGone = (): boolean => this.file === undefined;
  writtenFile = (_: string, paths: readonly string[]): Promise<string | undefined> =>
    Promise.resolve(paths.find((path) => path === this.file));

  pivot = (_: string, from: string, to: string): Promise<void> => {
    expect(this.file).toBe(from);
    this.killAt('pivot before');
    this.file = to;
    this.killAt('pivot after');
    return Promise.resolve();
  };

  killAt(point: CrashPoint): void {
    if (this.crash !== point) return;
    this.crash = 'never';
    throw new Killed(point);
  }

  /** Writes as the sandbox's user. */
  write(block: number, pattern: number): void {
    const format = execFileSync('head', ['-c3', this.file ?? '']).toString() === 'QFI' ? 'qcow2' : 'raw';
    const command = `write -P ${pattern} ${block}M 64k`;
    execFileSync('setpriv', [
      ...[`--reuid=${UID}`, `--regid=${UID}`, '--clear-groups', '--'],
      ...['qemu-io', '-f', format, '-c', command, this.file ?? ''],
    ]);
    this.blocks.set(block, pattern);
  }

  get content(): ReadonlyMap<number, number> {
    return new Map(this.blocks);
  }
}

const opened = async (guest?: Guest): Promise<VolumeStore> => {
  const qemuImg: QemuImg = {
    ...hostQemuImg,
    async createOverlay(overlay, stop) {
      guest?.killAt('overlay before');
      await hostQemuImg.createOverlay(overlay, stop);
      guest?.killAt('overlay after');
    },
  };
  const store = new VolumeStore({ stateDir, qemuImg, uid: randomUUID });
  await store.open();
  return store;
};

/** First bytes of blocks 0 to 7, read as any reader of the whole chain would. */
async function readBlocks(store: VolumeStore, uid: string): Promise<number[]> {
  const record = await store.get(uid);
  const raw = join(stateDir, 'out.raw');
  execFileSync('qemu-img', ['convert', '-U', '-f', record.format, '-O', 'raw', store.activePath(uid, record), raw]);
  const bytes = execFileSync('head', ['-c', String(8 * MiB), raw], { maxBuffer: 16 * MiB });
  return Array.from({ length: 8 }, (_, block) => bytes[block * MiB] ?? -1);
}

const asBlocks = (content: ReadonlyMap<number, number>): number[] =>
  Array.from({ length: 8 }, (_, block) => content.get(block) ?? 0);

async function runningGuest(): Promise<{ store: VolumeStore; volume: string; guest: Guest }> {
  const guest = new Guest();
  const store = await opened(guest);
  const volume = randomUUID();
  await store.create(volume, 8 * MiB);
  const record = await store.attach(volume, { podUid: POD, uid: UID }, () => false, signal);
  guest.file = store.activePath(volume, record);
  return { store, volume, guest };
}

/** The guest ends and its pod lets go. */
async function powerOff(store: VolumeStore, volume: string, guest: Guest): Promise<void> {
  guest.file = undefined;
  await store.detach(volume, POD);
}

describe('snapshots of a volume', () => {
  it('keep their content while the volume is written and after it is gone', async () => {
    const { store, volume, guest } = await runningGuest();
    guest.write(0, 1);
    const before = asBlocks(guest.content);
    await powerOff(store, volume, guest);
    const snapshot = randomUUID();
    expect(await store.snapshot(volume, snapshot, guest, signal)).toBe(8 * MiB);

    const record = await store.attach(volume, { podUid: POD, uid: UID }, () => false, signal);
    guest.file = store.activePath(volume, record);
    guest.write(0, 2);
    await powerOff(store, volume, guest);
    await store.remove(volume);
    const restored = randomUUID();
    await store.clone(snapshot, restored, 16 * MiB, signal);
    expect(await readBlocks(store, restored)).toEqual(before);

    await store.remove(snapshot);
    expect(await readBlocks(store, restored)).toEqual(before);
    await store.remove(restored);
    expect(readdirSync(join(stateDir, 'layers'))).toEqual([]);
    expect(readdirSync(join(stateDir, 'volumes'))).toEqual([]);
  });

  it('are taken beneath a running guest, several times, and the guest starts again from what it wrote last', async () => {
    const { store, volume, guest } = await runningGuest();
    const snapshots: { uid: string; content: number[] }[] = [];
    for (const round of [1, 2, 3]) {
      guest.write(round, round);
      const uid = randomUUID();
      await store.snapshot(volume, uid, guest, signal);
      snapshots.push({ uid, content: asBlocks(guest.content) });
    }
    guest.write(7, 9);
    for (const { uid, content } of snapshots) expect(await readBlocks(store, uid)).toEqual(content);
    expect(await readBlocks(store, volume)).toEqual(asBlocks(guest.content));

    await powerOff(store, volume, guest);
    const record = await store.attach(volume, { podUid: POD, uid: UID }, () => false, signal);
    expect(store.activePath(volume, record)).toBe(store.diskPath(volume));
    expect(await readBlocks(store, volume)).toEqual(asBlocks(guest.content));
    expect(readdirSync(store.directory(volume)).filter((name) => name.startsWith('live-'))).toEqual([]);
  });

  it('cannot be changed by the guest whose disk they were', async () => {
    const { store, volume, guest } = await runningGuest();
    guest.write(0, 1);
    await store.snapshot(volume, randomUUID(), guest, signal);
    const { mode, uid } = lstatSync(store.diskPath(volume));
    expect({ mode: mode & 0o777, uid }).toEqual({ mode: 0o444, uid: 0 });
    guest.write(0, 2);
  });

  it('are refused while something other than a guest writes', async () => {
    const { store, volume, guest } = await runningGuest();
    guest.file = '/elsewhere';
    await expect(store.snapshot(volume, randomUUID(), guest, signal)).rejects.toThrow('is no running guest');
  });

  const points: readonly CrashPoint[] = ['overlay before', 'overlay after', 'pivot before', 'pivot after'];
  describe.each(points)('when the agent is killed at %s', (point) => {
    async function killed(): Promise<{ volume: string; guest: Guest; snapshot: string }> {
      const { store, volume, guest } = await runningGuest();
      guest.write(0, 1);
      await store.snapshot(volume, randomUUID(), guest, signal); // an earlier one, so that the chain is longer than one
      guest.write(1, 2);
      guest.crash = point;
      const snapshot = randomUUID();
      await expect(store.snapshot(volume, snapshot, guest, signal)).rejects.toThrow(Killed);
      guest.write(2, 3); // the guest runs on, whatever it writes to
      return { volume, guest, snapshot };
    }

    it('the next agent finishes the snapshot and loses nothing', async () => {
      const { volume, guest, snapshot } = await killed();
      const store = await opened(guest);
      await store.snapshot(volume, snapshot, guest, signal);
      const taken = await readBlocks(store, snapshot);
      expect(taken.slice(0, 2)).toEqual([1, 2]);
      guest.write(3, 4);
      expect(await readBlocks(store, snapshot)).toEqual(taken);
      expect(await readBlocks(store, volume)).toEqual(asBlocks(guest.content));
      await powerOff(store, volume, guest);
      expect(await readBlocks(store, volume)).toEqual(asBlocks(guest.content));
    });

    it('a guest that ends meanwhile starts again from what it wrote last', async () => {
      const { volume, guest } = await killed();
      const store = await opened(guest);
      await powerOff(store, volume, guest);
      expect(await readBlocks(store, volume)).toEqual(asBlocks(guest.content));
      const other = '22222222-2222-4222-8222-222222222222';
      const record = await store.attach(volume, { podUid: other, uid: UID }, () => true, signal);
      guest.file = store.activePath(volume, record);
      guest.write(4, 5);
      expect(await readBlocks(store, volume)).toEqual(asBlocks(guest.content));
    });
  });
});

describe('a claim that holds files', () => {
  it('has them in its snapshots and clones, copied with the rights of their owner, also while it is used', async () => {
    const store = new VolumeStore({ stateDir, qemuImg: hostQemuImg, uid: randomUUID });
    await store.open();
    const [state, snapshot, clone] = [randomUUID(), randomUUID(), randomUUID()];
    await store.create(state, 10 * MiB);
    await store.attach(state, { podUid: POD, uid: UID }, () => false, signal);
    const files = await store.filesDirectory(state, { podUid: POD, uid: UID });
    const asGuest = (command: string): string =>
      execFileSync('setpriv', [`--reuid=${UID}`, `--regid=${UID}`, '--clear-groups', '--', 'sh', '-c', command]).toString();
    asGuest(`mkdir ${files}/tpm && echo secret > ${files}/tpm/state && ln -s /etc/shadow ${files}/tpm/link`);

    const live: LiveDisks = {
      isGone: () => false,
      writtenFile: () => Promise.resolve(undefined),
      pivot: () => Promise.reject(new Error('There is no disk to change')),
    };
    await store.snapshot(state, snapshot, live, signal);
    asGuest(`echo changed > ${files}/tpm/state`);
    await store.clone(snapshot, clone, 10 * MiB, signal);
    const copied = join(store.directory(clone), 'files/tpm');
    expect(execFileSync('cat', [join(copied, 'state')]).toString()).toBe('secret\n');
    expect(lstatSync(join(copied, 'link')).isSymbolicLink()).toBe(true);
    expect(lstatSync(store.directory(snapshot)).mode & 0o777).toBe(0o700);
    expect(asGuest(`cat ${files}/tpm/state`)).toBe('changed\n');
  });
});
