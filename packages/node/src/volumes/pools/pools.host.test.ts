import { execFileSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { readFile, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { hostQemuImg } from '../qemu-img.ts';
import { VolumeStore } from '../volume-store.ts';
import { PoolSet } from './pool-set.ts';
import { usageOf } from './pool-usage.ts';
import { removePools } from './remove-pools.ts';

const MiB = 1024 * 1024;
const TOOL_UID = 2_352_000;
const signal = new AbortController().signal;
const noGuests = {
  isGone: () => true,
  writtenFile: () => Promise.resolve(undefined),
  pivot: () => Promise.reject(new Error('none')),
  resize: () => Promise.resolve(false),
};

let root: string;
let stateDir: string;
let fast: string;
let tests = 0;

/** File systems of their own, as on a machine with two more disks. */
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pl-pools-'));
  chmodSync(root, 0o711);
  fast = join(root, 'fast');
  mkdirSync(fast);
  const image = join(root, 'fast.ext4');
  writeFileSync(image, '');
  truncateSync(image, 64 * MiB);
  execFileSync('mkfs.ext4', ['-q', '-F', image]);
  execFileSync('mount', ['-o', 'loop', image, fast]);
});
afterAll(() => {
  execFileSync('umount', [fast]);
  rmSync(root, { recursive: true, force: true });
});
beforeEach(() => {
  stateDir = join(root, `state-${++tests}`);
  mkdirSync(stateDir, { mode: 0o711 });
});

const pool = () => ({ name: 'fast', path: fast });

/** An agent that has just started. */
async function started(declared: readonly { name: string; path: string }[] = [pool()]): Promise<VolumeStore> {
  const pools = new PoolSet({ stateDir, hostPrefix: `pl${tests}`, uid: randomUUID });
  const store = new VolumeStore({ stateDir, qemuImg: hostQemuImg, uid: randomUUID, toolUid: TOOL_UID, pools });
  await store.open();
  await pools.declare(declared);
  return store;
}

async function makeVolume(
  store: VolumeStore,
  poolName: string | undefined,
  content: Buffer,
  sizeBytes = 8 * MiB,
): Promise<string> {
  const uid = randomUUID();
  await store.pools.place(uid, poolName);
  await store.create(uid, sizeBytes);
  writeFileSync(store.diskPath(uid), content);
  await truncate(store.diskPath(uid), sizeBytes);
  await store.update(uid, (record) => ({ ...record, state: 'ready' }));
  return uid;
}

/** What a guest would read. */
async function contentOf(store: VolumeStore, uid: string, bytes: number): Promise<Buffer> {
  const { format } = await store.get(uid);
  const out = join(stateDir, `${randomUUID()}.raw`);
  execFileSync('qemu-img', ['convert', '-f', format, '-O', 'raw', store.diskPath(uid), out]);
  return (await readFile(out)).subarray(0, bytes);
}

describe('a volume in a pool', () => {
  it('is on the file system of the pool, also for the next agent', async () => {
    const store = await started();
    const uid = await makeVolume(store, 'fast', Buffer.from('of the pool'));
    expect(statSync(store.diskPath(uid)).dev).toBe(statSync(fast).dev);
    expect(statSync(store.diskPath(uid)).dev).not.toBe(statSync(stateDir).dev);

    const next = await started([]); // nobody has told it of the pool yet
    expect(next.directory(uid)).toBe(store.directory(uid));
    expect(await next.list()).toEqual([uid]);
    expect(await next.get(uid)).toMatchObject({ state: 'ready' });
    await next.remove(uid);
    expect(readdirSync(join(stateDir, 'pools', 'fast', 'volumes'))).toEqual([]);
  });

  it('keeps snapshots and clones beside it, and is copied into another pool', async () => {
    const store = await started();
    const content = randomBytes(MiB);
    const uid = await makeVolume(store, 'fast', content);

    const [beside, elsewhere, snapshot] = [randomUUID(), randomUUID(), randomUUID()];
    await store.pools.place(beside, 'fast');
    expect(await store.clone(uid, beside, 8 * MiB, signal)).toBe('overlay');
    expect(await store.clone(uid, elsewhere, 16 * MiB, signal)).toBe('copy');
    await store.snapshot(beside, snapshot, noGuests, signal);

    expect(store.pools.poolOf(snapshot)).toBe('fast');
    expect(store.directory(elsewhere)).toBe(join(stateDir, 'volumes', elsewhere));
    for (const copy of [beside, elsewhere, snapshot]) expect((await contentOf(store, copy, MiB)).equals(content)).toBe(true);
    expect(await store.get(elsewhere)).toEqual({ format: 'raw', virtualSizeBytes: 16 * MiB, chain: [], state: 'ready' });
    // what the source has no data for is a hole in the copy too
    expect(statSync(store.diskPath(elsewhere)).blocks * 512).toBeLessThan(2 * MiB);
    expect(statSync(store.directory(uid)).mode & 0o777).toBe(0o700);

    // an overlay is copied with what is below it
    const again = randomUUID();
    expect(await store.clone(beside, again, 8 * MiB, signal)).toBe('copy');
    expect((await contentOf(store, again, MiB)).equals(content)).toBe(true);

    const usage = await usageOf(store.pools.rootOf('fast'));
    expect(usage.totalBytes).toBeGreaterThanOrEqual(MiB);
    expect(usage.totalBytes).toBeLessThan(3 * MiB); // the layer has many names and counts once
    expect(usage.byVolume.get(uid)).toBeGreaterThanOrEqual(MiB);
    for (const volume of [uid, beside, snapshot]) await store.remove(volume);
    expect(readdirSync(join(store.pools.rootOf('fast'), 'layers'))).toEqual([]);
  });

  it('grows', async () => {
    const store = await started();
    const uid = await makeVolume(store, 'fast', Buffer.from('x'));
    await store.expand(uid, 12 * MiB, noGuests, signal);
    expect(statSync(store.diskPath(uid)).size).toBe(12 * MiB);
    await store.remove(uid);
  });

  it('is linked for a pod within the pool', async () => {
    const store = await started();
    const uid = await makeVolume(store, 'fast', Buffer.from('shared'));
    const podUid = randomUUID();
    const directory = store.podDirectory(uid, podUid);
    mkdirSync(directory);
    await store.linkReadOnly(uid, directory);
    expect(readdirSync(directory)).toEqual(['disk.img']);
    expect(await store.podDirectories(podUid)).toEqual([join(stateDir, 'podvolumes', podUid), directory]);
    await store.remove(uid);
  });
});

describe('a pool that is not mounted', () => {
  it('is never mistaken for the directory below it', async () => {
    const store = await started();
    const uid = await makeVolume(store, 'fast', Buffer.from('kept'));
    execFileSync('umount', [fast]);
    try {
      const missing = /Storage pool "fast": .* has not its mark: mount its file system there/;
      await expect(store.read(uid)).rejects.toThrow(missing);
      await expect(store.remove(uid)).rejects.toThrow(missing);
      await expect(store.pools.place(randomUUID(), 'fast')).rejects.toThrow(missing);
      expect(await store.list()).toEqual([]);

      const next = await started();
      expect(next.pools.states()).toMatchObject([{ name: 'fast', problem: { reason: 'PoolNotMounted' } }]);
      await expect(next.attach(uid, { podUid: randomUUID(), uid: TOOL_UID }, () => true, signal)).rejects.toThrow(missing);
      await expect(next.pools.place(randomUUID(), 'fast')).rejects.toThrow(missing);
      expect(await next.pools.diskDirectories()).toEqual([]);
      expect(readdirSync(fast)).toEqual([]); // nothing was made on the file system of the system
    } finally {
      execFileSync('mount', ['-o', 'loop', join(root, 'fast.ext4'), fast]);
    }
    expect(await store.get(uid)).toMatchObject({ state: 'ready' });
    await store.remove(uid);
  });

  it('is another one after it was taken out of the declarations', async () => {
    await started();
    const other = join(root, 'other');
    mkdirSync(other, { recursive: true });
    const store = await started([{ name: 'fast', path: other }]);
    expect(store.pools.states()).toEqual([{ name: 'fast', path: other }]);
    const uid = await makeVolume(store, 'fast', Buffer.from('x'));
    await store.pools.declare([pool()]);
    expect(store.pools.states()[0]?.problem?.message).toContain(`has volumes in ${other}: declare it there`);
    await store.pools.declare([]);
    expect(store.pools.states()).toMatchObject([{ name: 'fast', problem: { reason: 'PoolNotDeclared' } }]);
    await store.remove(uid);
  });
});

describe('a node that goes', () => {
  it('takes with it what it has in its pools', async () => {
    const store = await started();
    await makeVolume(store, 'fast', Buffer.from('x'));
    const directory = store.pools.rootOf('fast');
    await removePools({ stateDir, hostPrefix: `pl${tests}` });
    expect(readdirSync(fast)).not.toContain(basename(directory));
  });
});

describe('a directory is no pool', () => {
  it.each<[string, (path: string) => void, RegExp]>([
    [
      'that another user owns',
      (path) => (mkdirSync(path), chownSync(path, 1234, 1234)),
      /can be changed by others than root: run chown/,
    ],
    ['that everybody can write', (path) => (mkdirSync(path), chmodSync(path, 0o777)), /can be changed by others than root/],
    ['that is a link', (path) => symlinkSync('/etc', path), /is a link: name \/etc itself/],
    ['that nobody can enter', (path) => (mkdirSync(path), chmodSync(path, 0o700)), /cannot be entered by data movers: run chmod/],
    ['that is a file', (path) => writeFileSync(path, ''), /is not a directory|cannot be entered/],
  ])('%s', async (name, make, complaint) => {
    const path = join(root, name.replaceAll(' ', '-'));
    make(path);
    const store = await started([{ name: 'p', path }]);
    expect(store.pools.states()[0]?.problem?.message).toMatch(complaint);
    await expect(store.pools.place(randomUUID(), 'p')).rejects.toThrow(complaint);
  });

  it('of a name that nobody declared', async () => {
    const store = await started();
    await expect(store.pools.place(randomUUID(), 'slow')).rejects.toThrow(
      'No HostPathProvisioner declares the storage pool "slow"',
    );
  });
});
