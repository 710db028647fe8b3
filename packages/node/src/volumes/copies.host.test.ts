import { execFileSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { chmodSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { hostQemuImg, type QemuImg } from './qemu-img.ts';
import { VolumeStore } from './volume-store.ts';

const MiB = 1024 * 1024;
const UID = 2_350_107;
const TOOL_UID = 2_350_108;
const POD = '11111111-1111-4111-8111-111111111111';
const signal = new AbortController().signal;
const content = randomBytes(MiB);

let stateDir: string;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'slipcopy-'));
  chmodSync(stateDir, 0o711);
});
afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

async function opened(qemuImg: QemuImg = hostQemuImg): Promise<VolumeStore> {
  const store = new VolumeStore({ stateDir, qemuImg, uid: randomUUID, toolUid: TOOL_UID });
  await store.open();
  return store;
}

/** Writes as the user of a sandbox would, somewhere in the disk. */
async function write(store: VolumeStore, volume: string, offset: number, bytes: Buffer): Promise<void> {
  const { format } = await store.attach(volume, { podUid: POD, uid: UID }, () => false, signal);
  const source = join(stateDir, 'bytes');
  execFileSync('dd', [`of=${source}`, 'status=none'], { input: bytes });
  execFileSync('qemu-io', ['-f', format, '-c', `write -s ${source} ${offset} ${bytes.length}`, store.diskPath(volume)]);
  await store.detach(volume, POD);
}

async function filled(store: VolumeStore): Promise<string> {
  const volume = randomUUID();
  await store.create(volume, 64 * MiB);
  await write(store, volume, 32 * MiB, content);
  return volume;
}

it('is byte-equal and as sparse as its source, and shares nothing with it', async () => {
  const store = await opened();
  const source = await filled(store);
  const copy = randomUUID();
  expect(await store.copy(source, copy, 96 * MiB, signal)).toBe('copy');
  await write(store, source, 0, randomBytes(MiB)); // after the copy
  const disk = readFileSync(store.diskPath(copy));
  expect(disk.length).toBe(96 * MiB);
  expect(disk.subarray(32 * MiB, 33 * MiB).equals(content)).toBe(true);
  expect(disk.subarray(0, 32 * MiB).equals(Buffer.alloc(32 * MiB))).toBe(true);
  expect(statSync(store.diskPath(copy)).blocks * 512).toBeLessThan(8 * MiB);
  expect(await store.read(copy)).toEqual({ format: 'raw', virtualSizeBytes: 96 * MiB, chain: [], state: 'ready' });
  expect(readdirSync(store.directory(copy)).sort()).toEqual(['disk.img', 'volume.json']);
  expect(lstatSync(store.diskPath(copy))).toMatchObject({ uid: 0, nlink: 1 });
  expect(lstatSync(store.directory(copy)).mode & 0o777).toBe(0o700);
});

it('of a clone contains what both have written', async () => {
  const store = await opened();
  const source = await filled(store);
  const [clone, copy] = [randomUUID(), randomUUID()];
  await store.clone(source, clone, 64 * MiB, signal);
  const own = randomBytes(MiB);
  await write(store, clone, MiB, own);
  await store.copy(clone, copy, 64 * MiB, signal);
  const disk = readFileSync(store.diskPath(copy));
  expect(disk.subarray(MiB, 2 * MiB).equals(own)).toBe(true);
  expect(disk.subarray(32 * MiB, 33 * MiB).equals(content)).toBe(true);
});

it('that failed begins anew and leaves nothing behind meanwhile', async () => {
  let isBroken = true;
  const store = await opened({
    ...hostQemuImg,
    flatten: (task, stop) => (isBroken ? Promise.reject(new Error('killed')) : hostQemuImg.flatten(task, stop)),
  });
  const source = await filled(store);
  const copy = randomUUID();
  await expect(store.copy(source, copy, 64 * MiB, signal)).rejects.toThrow('killed');
  expect(await store.read(copy)).toBeUndefined();
  expect(readdirSync(store.directory(copy))).toEqual([]);
  isBroken = false;
  await write(store, source, 0, content); // the source is not held by what failed
  await store.copy(source, copy, 64 * MiB, signal);
  expect(readFileSync(store.diskPath(copy)).subarray(0, MiB).equals(content)).toBe(true);
});

it('waits for whoever is using the source', async () => {
  const store = await opened();
  const source = await filled(store);
  await store.attach(source, { podUid: POD, uid: UID }, () => false, signal);
  await expect(store.copy(source, randomUUID(), 64 * MiB, signal)).rejects.toMatchObject({ reason: 'CloneSourceInUse' });
});
