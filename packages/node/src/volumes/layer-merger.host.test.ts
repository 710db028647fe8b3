import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hostQemuImg, type QemuImg } from './qemu-img.ts';
import type { LiveDisks } from './snapshot-volume.ts';
import type { VolumeRecord } from './volume-record.ts';
import { VolumeStore } from './volume-store.ts';

const MiB = 1024 * 1024;
const POD = '11111111-1111-4111-8111-111111111111';
const [UID, TOOL_UID] = [2_350_008, 2_350_009];
const signal = new AbortController().signal;

let stateDir: string;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'slipmerge-'));
  chmodSync(stateDir, 0o711);
});
afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

const realCommit: QemuImg['commit'] = (overlay, stop) => hostQemuImg.commit(overlay, stop);

async function opened(commit = realCommit): Promise<VolumeStore> {
  const store = new VolumeStore({ stateDir, qemuImg: { ...hostQemuImg, commit }, uid: randomUUID, toolUid: TOOL_UID });
  await store.open();
  return store;
}

/** A volume whose guest wrote one block before each of its snapshots and one after the last; it is off by now. */
async function chained(store: VolumeStore, snapshots: number): Promise<{ volume: string; taken: string[] }> {
  const volume = randomUUID();
  await store.create(volume, 8 * MiB);
  const record = await store.attach(volume, { podUid: POD, uid: UID }, () => false, signal);
  let file = store.activePath(volume, record);
  const live: LiveDisks = {
    isGone: () => false,
    writtenFile: (_, paths) => Promise.resolve(paths.find((path) => path === file)),
    pivot: (_, _from, to) => {
      file = to;
      return Promise.resolve();
    },
  };
  const taken: string[] = [];
  for (let round = 0; round <= snapshots; round++) {
    const format = round === 0 ? 'raw' : 'qcow2';
    execFileSync('qemu-io', ['-f', format, '-c', `write -P ${round + 1} ${round}M 64k`, file]);
    if (round === snapshots) break;
    const uid = randomUUID();
    await store.snapshot(volume, uid, live, signal);
    taken.push(uid);
  }
  await store.detach(volume, POD);
  return { volume, taken };
}

/** First bytes of blocks 0 to 7, read as any reader of the whole chain would. */
async function readBlocks(store: VolumeStore, uid: string): Promise<number[]> {
  const record = await store.get(uid);
  const raw = join(stateDir, 'out.raw');
  execFileSync('qemu-img', ['convert', '-U', '-f', record.format, '-O', 'raw', store.activePath(uid, record), raw]);
  const bytes = readFileSync(raw);
  return Array.from({ length: 8 }, (_, block) => bytes[block * MiB] ?? -1);
}

const WRITTEN = [1, 2, 3, 4, 0, 0, 0, 0];
const recordPath = (volume: string): string => join(stateDir, 'volumes', volume, 'volume.json');

describe('the chain of a volume', () => {
  it('is merged when its snapshots are gone, and gives their space back', async () => {
    const store = await opened();
    const { volume, taken } = await chained(store, 3);
    expect((await store.get(volume)).chain).toHaveLength(3);
    for (const uid of taken) await store.remove(uid);
    await store.flatten(volume, signal);
    expect(await store.get(volume)).toMatchObject({ format: 'raw', chain: [] });
    expect(await readBlocks(store, volume)).toEqual(WRITTEN);
    expect(readdirSync(join(stateDir, 'layers'))).toEqual([]);
    expect(readdirSync(store.directory(volume)).toSorted()).toEqual(['disk.img', 'volume.json']);
    const again = await store.attach(volume, { podUid: POD, uid: UID }, () => false, signal);
    expect(again.format).toBe('raw');
  });

  it('keeps what a snapshot still reads', async () => {
    const store = await opened();
    const { volume, taken } = await chained(store, 3);
    const [first, second = '', third] = taken;
    for (const uid of [first, third]) await store.remove(uid ?? '');
    await store.flatten(volume, signal);
    expect((await store.get(volume)).chain).toHaveLength(2);
    expect(await readBlocks(store, volume)).toEqual(WRITTEN);
    expect(await readBlocks(store, second)).toEqual([1, 2, 0, 0, 0, 0, 0, 0]);
    await store.remove(second);
    await store.flatten(volume, signal);
    expect((await store.get(volume)).chain).toEqual([]);
    expect(await readBlocks(store, volume)).toEqual(WRITTEN);
  });

  it('is left alone while somebody writes, and makes way for who wants to', async () => {
    let isWanted = true;
    let attached: Promise<VolumeRecord> | undefined;
    const store = await opened(async (overlay, stop) => {
      if (isWanted) attached = store.attach(volume, { podUid: POD, uid: UID }, () => false, signal);
      isWanted = false;
      await hostQemuImg.commit(overlay, stop);
    });
    const { volume, taken } = await chained(store, 1);
    for (const uid of taken) await store.remove(uid);
    await store.flatten(volume, signal);
    expect((await attached)?.chain).toHaveLength(1);
    await store.flatten(volume, signal);
    expect((await store.get(volume)).chain).toHaveLength(1);
    await store.detach(volume, POD);
    await store.flatten(volume, signal);
    expect((await store.get(volume)).chain).toEqual([]);
    expect(await readBlocks(store, volume)).toEqual([1, 2, 0, 0, 0, 0, 0, 0]);
  });

  it('is not followed to files that an image names', async () => {
    const store = await opened();
    const { volume, taken } = await chained(store, 1);
    for (const uid of taken) await store.remove(uid);
    const secret = join(stateDir, 'secret');
    writeFileSync(secret, 'x'.repeat(1024), { mode: 0o600 });
    const disk = join(store.directory(volume), 'disk.img');
    execFileSync('qemu-img', ['rebase', '-u', '-f', 'qcow2', '-F', 'raw', '-b', secret, disk]);
    await store.flatten(volume, signal);
    expect(await readBlocks(store, volume)).toEqual([1, 2, 0, 0, 0, 0, 0, 0]);
    expect(readFileSync(secret, 'utf8')).toBe('x'.repeat(1024));
  });

  describe.each(['before', 'after'])('when the agent is killed %s the images are merged', (when) => {
    it('shows the same, and is merged by the next agent', async () => {
      const killed = await opened(async (overlay, stop) => {
        if (when === 'after') await hostQemuImg.commit(overlay, stop);
        throw new Error('killed');
      });
      const { volume, taken } = await chained(killed, 3);
      for (const uid of taken) await killed.remove(uid);
      await expect(killed.flatten(volume, signal)).rejects.toThrow('killed');
      const store = await opened();
      expect(await readBlocks(store, volume)).toEqual(WRITTEN);
      await store.flatten(volume, signal);
      expect((await store.get(volume)).chain).toEqual([]);
      expect(await readBlocks(store, volume)).toEqual(WRITTEN);
    });
  });

  describe.each([false, true])('when the agent is killed after it recorded the merge, the file renamed: %s', (isRenamed) => {
    it('is finished by the next agent', async () => {
      const before = await opened();
      const { volume, taken } = await chained(before, 1);
      for (const uid of taken) await before.remove(uid);
      const record = await before.get(volume);
      const name = record.chain[0]?.name ?? '';
      const [disk, layer] = [join(before.directory(volume), 'disk.img'), join(before.directory(volume), name)];
      chmodSync(layer, 0o600);
      execFileSync('qemu-img', ['commit', '-q', '-d', '-f', 'qcow2', disk], { cwd: before.directory(volume) });
      writeFileSync(recordPath(volume), JSON.stringify({ ...record, merging: name }));
      if (isRenamed) renameSync(layer, disk);
      const store = await opened();
      expect(await store.get(volume)).toEqual({ format: 'raw', virtualSizeBytes: 8 * MiB, chain: [], state: 'blank' });
      expect(await readBlocks(store, volume)).toEqual([1, 2, 0, 0, 0, 0, 0, 0]);
      expect(existsSync(join(stateDir, 'layers', name))).toBe(false);
    });
  });
});
