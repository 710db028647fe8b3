import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sharedVolumeUid } from '@slipway/api';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PoolSet } from '../pools/pool-set.ts';
import { hostQemuImg } from '../qemu-img.ts';
import type { Attachment } from '../volume-record.ts';
import { type HeldVolume, VolumeStore } from '../volume-store.ts';
import {
  acceptVolume,
  discardVolume,
  expectVolume,
  handOverVolume,
  incomingFiles,
  offerContent,
  receiveContent,
  removeGiven,
} from './moving-records.ts';

const signal = new AbortController().signal;
const MIB = 1024 * 1024;
const here = (): boolean => false;

let root: string;
let sharedDir: string;
let stateDirs: Record<string, string>;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'slipmove-'));
  chmodSync(root, 0o711);
  sharedDir = join(root, 'shared-volumes');
  stateDirs = {};
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** The volumes of one agent; one of the same name again is that agent after a restart. */
async function agent(nodeName: string, present: readonly Attachment[] = []): Promise<VolumeStore> {
  const stateDir = (stateDirs[nodeName] ??= mkdtempSync(join(root, `${nodeName}-`)));
  chmodSync(stateDir, 0o711);
  const pools = new PoolSet({ stateDir, hostPrefix: nodeName, uid: randomUUID, sharedDir });
  const podsElsewhere = (): Promise<ReadonlySet<string>> => Promise.resolve(new Set(present.map(({ podUid }) => podUid)));
  const store = new VolumeStore({
    ...{ stateDir, nodeName, qemuImg: hostQemuImg, uid: randomUUID, pools, podsElsewhere },
    toolUid: 2_350_042,
  });
  await store.open();
  return store;
}

const source: Attachment = { podUid: randomUUID(), uid: 2_350_041, holder: 'virtual machine instance default/web' };
const target: Attachment = { podUid: randomUUID(), uid: 2_350_141, holder: 'virtual machine instance default/web' };
const third: Attachment = { podUid: randomUUID(), uid: 2_350_241 };
const THERE = { node: 'node2', podUid: target.podUid };

const noGuests = {
  isGone: () => true,
  writtenFile: () => Promise.resolve(undefined),
  pivot: () => Promise.reject(new Error('no guest')),
};

class Killed extends Error {}

/** The store of an agent that is killed before the n-th change it makes to a volume. */
function dyingAt(store: VolumeStore, step: number): VolumeStore {
  let left = step;
  const change = <A extends readonly unknown[]>(act: (...args: A) => Promise<void>) => {
    return async (...args: A): Promise<void> => {
      if (left-- === 0) throw new Killed();
      await act(...args);
    };
  };
  const exclusively = <T>(volumeUid: string, action: (volume: HeldVolume) => Promise<T>): Promise<T> =>
    store.exclusively(volumeUid, (volume) =>
      action({ ...volume, write: change((record) => volume.write(record)), giveTo: change((...args) => volume.giveTo(...args)) }),
    );
  return new Proxy(store, {
    get: (found, key) => {
      if (key === 'exclusively') return exclusively;
      const value: unknown = Reflect.get(found, key);
      return typeof value === 'function' ? value.bind(found) : value;
    },
  });
}

/** Runs the action with a kill before each change in turn, `again` after each, and returns how often it was killed. */
async function killedEverywhere(
  restart: () => Promise<VolumeStore>,
  act: (store: VolumeStore) => Promise<unknown>,
): Promise<number> {
  for (let step = 0; ; step++) {
    try {
      await act(dyingAt(await restart(), step));
      return step;
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
    }
  }
}

async function writtenAt(store: VolumeStore, volume: string): Promise<void> {
  await store.create(volume, 4 * MIB);
  await store.attach(volume, source, here, signal);
  writeFileSync(store.diskPath(volume), 'content', { flag: 'r+' });
}

describe('a volume of one node goes to another', () => {
  it('with its guest, and what is left behind is of no use to anybody', async () => {
    const [one, two, volume] = [await agent('node1'), await agent('node2'), randomUUID()];
    await writtenAt(one, volume);
    await offerContent(one, volume, source.podUid);
    await receiveContent(two, volume, target, 4 * MIB);
    expect(lstatSync(two.diskPath(volume))).toMatchObject({ size: 4 * MIB, uid: target.uid });
    await expect(two.attach(volume, third, () => true, signal)).rejects.toThrow('on its way to this node');
    await expect(one.attach(volume, third, here, signal)).rejects.toThrow('already used by virtual machine instance');
    await handOverVolume(one, volume, source.podUid, THERE);
    for (const pod of [source, third])
      await expect(one.attach(volume, pod, () => true, signal)).rejects.toThrow('went to node node2');
    await acceptVolume(two, volume, target.podUid);
    const again = await (await agent('node2')).attach(volume, target, here, signal);
    expect(again).toMatchObject({ format: 'raw', virtualSizeBytes: 4 * MIB, writer: { podUid: target.podUid } });
    await one.detach(volume, source.podUid);
    expect((await one.read(volume))?.given).toEqual(THERE);
    await two.detach(volume, target.podUid);
    await two.attach(volume, third, here, signal);
  });

  it('and each agent may be killed before each change', async () => {
    const volume = randomUUID();
    await writtenAt(await agent('node1'), volume);
    const [one, two] = [() => agent('node1'), () => agent('node2')];
    const kills = [
      await killedEverywhere(one, (store) => offerContent(store, volume, source.podUid)),
      await killedEverywhere(two, (store) => receiveContent(store, volume, target, 4 * MIB)),
      await killedEverywhere(one, (store) => handOverVolume(store, volume, source.podUid, THERE)),
      await killedEverywhere(two, (store) => acceptVolume(store, volume, target.podUid)),
    ];
    expect(kills.every((count) => count > 0)).toBe(true);
    await expect((await one()).get(volume)).rejects.toThrow('went to node node2');
    expect(await (await two()).get(volume)).toMatchObject({ writer: { podUid: target.podUid } });
  });

  it('and stays when the other node throws away what it received', async () => {
    const [one, two, volume] = [await agent('node1'), await agent('node2'), randomUUID()];
    await writtenAt(one, volume);
    await offerContent(one, volume, source.podUid);
    await receiveContent(two, volume, target, 4 * MIB);
    expect(await discardVolume(two, volume, third.podUid)).toBe(false);
    expect(await discardVolume(two, volume, target.podUid)).toBe(true);
    expect(existsSync(two.directory(volume))).toBe(false);
    expect(await one.attach(volume, source, here, signal)).toMatchObject({ writer: { podUid: source.podUid } });
    expect(readFileSync(one.diskPath(volume), 'utf8').slice(0, 7)).toBe('content');
  });

  it('over nothing but what a guest left there or never brought', async () => {
    const [one, two, volume] = [await agent('node1'), await agent('node2'), randomUUID()];
    await two.create(volume, MIB);
    await expect(receiveContent(two, volume, target, 4 * MIB)).rejects.toThrow('has a volume in');
    await two.remove(volume);
    await receiveContent(two, volume, third, 4 * MIB);
    writeFileSync(two.diskPath(volume), 'half', { flag: 'r+' });
    await receiveContent(two, volume, target, 8 * MIB);
    expect(readFileSync(two.diskPath(volume)).equals(Buffer.alloc(8 * MIB))).toBe(true);
    await acceptVolume(two, volume, target.podUid);
    await discardVolume(two, volume, target.podUid); // too late
    await offerContent(two, volume, target.podUid);
    await receiveContent(one, volume, source, 8 * MIB);
    await handOverVolume(two, volume, target.podUid, { node: 'node1', podUid: source.podUid });
    await acceptVolume(one, volume, source.podUid);
    await receiveContent(two, volume, third, 8 * MIB); // and back, over what it left
    expect((await two.read(volume))?.incoming).toEqual({ podUid: third.podUid });
  });

  it('and its snapshots stay where they were made', async () => {
    const [one, two, volume, snapshot, restored] = [
      await agent('node1'),
      await agent('node2'),
      randomUUID(),
      randomUUID(),
      randomUUID(),
    ];
    await one.create(volume, 4 * MIB);
    writeFileSync(one.diskPath(volume), 'before', { flag: 'r+' });
    await one.snapshot(volume, snapshot, noGuests, signal);
    const { format } = await one.attach(volume, source, here, signal);
    execFileSync('qemu-io', ['-f', format, '-c', 'write -P 0x61 0 6', one.diskPath(volume)]);
    await offerContent(one, volume, source.podUid);
    await receiveContent(two, volume, target, 4 * MIB);
    await handOverVolume(one, volume, source.podUid, THERE);
    await acceptVolume(two, volume, target.podUid);
    await expect(one.snapshot(volume, randomUUID(), noGuests, signal)).rejects.toThrow('went to node node2');
    expect(await removeGiven(one, volume)).toBe(true);
    expect(await removeGiven(two, volume)).toBe(false);
    await one.copy(snapshot, restored, 4 * MIB, signal);
    expect(readFileSync(one.diskPath(restored), 'utf8').slice(0, 6)).toBe('before');
  });

  it('unless it was not offered: then the dead pod lets it go where it is', async () => {
    const [one, volume] = [await agent('node1'), randomUUID()];
    await writtenAt(one, volume);
    await handOverVolume(one, volume, source.podUid, THERE);
    expect(await one.attach(volume, third, here, signal)).toMatchObject({ writer: { podUid: third.podUid } });
  });
});

describe('a volume of all nodes changes hands', () => {
  const everybody = [source, target, third];

  it('at one moment, and no third pod gets in between', async () => {
    const [one, two, volume] = [await agent('node1', everybody), await agent('node2', everybody), sharedVolumeUid(randomUUID())];
    await writtenAt(one, volume);
    const refused = async (): Promise<void> => {
      for (const store of [one, two])
        await expect(store.attach(volume, third, here, signal)).rejects.toThrow('already used by virtual machine instance');
    };
    await expectVolume(two, volume, { ...target, node: 'node2' }, [source.podUid]);
    expect(lstatSync(two.diskPath(volume))).toMatchObject({ uid: source.uid, gid: target.uid });
    await refused();
    await expect(acceptVolume(two, volume, target.podUid)).rejects.toThrow('has not been handed over');
    await expect(two.attach(volume, target, here, signal)).rejects.toThrow('already used');
    await handOverVolume(one, volume, source.podUid, THERE);
    await refused();
    await acceptVolume(two, volume, target.podUid);
    expect(await two.attach(volume, target, here, signal)).toMatchObject({ writer: { podUid: target.podUid, node: 'node2' } });
    expect(lstatSync(two.diskPath(volume))).toMatchObject({ uid: target.uid, gid: target.uid });
    await one.detach(volume, source.podUid);
    await refused();
    await two.detach(volume, target.podUid);
    await one.attach(volume, third, here, signal);
  });

  it('also when the pod that it leaves is gone from the API before', async () => {
    const volume = sharedVolumeUid(randomUUID());
    const [one, two, other] = [await agent('node1'), await agent('node2'), await agent('node3', [target])];
    await writtenAt(one, volume);
    await expectVolume(two, volume, { ...target, node: 'node2' }, [source.podUid]);
    await expect(other.attach(volume, third, here, signal)).rejects.toThrow('already used');
    await handOverVolume(one, volume, source.podUid, THERE);
    await expect(other.attach(volume, third, here, signal)).rejects.toThrow('already used');
  });

  it('whenever an agent is killed', async () => {
    const volume = sharedVolumeUid(randomUUID());
    const [one, two] = [() => agent('node1', everybody), () => agent('node2', everybody)];
    await writtenAt(await one(), volume);
    await killedEverywhere(two, (store) => expectVolume(store, volume, { ...target, node: 'node2' }, [source.podUid]));
    const kills = await killedEverywhere(one, (store) => handOverVolume(store, volume, source.podUid, THERE));
    expect(kills).toBeGreaterThan(0);
    await killedEverywhere(two, (store) => acceptVolume(store, volume, target.podUid));
    const store = await two();
    expect(await store.attach(volume, target, here, signal)).toMatchObject({ writer: { podUid: target.podUid } });
    expect(lstatSync(store.diskPath(volume))).toMatchObject({ uid: target.uid, gid: target.uid });
    expect((await store.get(volume)).heir).toBeUndefined();
  });

  it('not at all when the guest stays', async () => {
    const [one, two, volume] = [await agent('node1', everybody), await agent('node2', everybody), sharedVolumeUid(randomUUID())];
    await writtenAt(one, volume);
    await expectVolume(two, volume, { ...target, node: 'node2' }, [source.podUid]);
    await one.attach(volume, source, here, signal); // its agent was restarted meanwhile
    expect(lstatSync(one.diskPath(volume))).toMatchObject({ uid: source.uid, gid: target.uid });
    await discardVolume(two, volume, target.podUid);
    expect(lstatSync(one.diskPath(volume))).toMatchObject({ uid: source.uid, gid: source.uid });
    expect(await one.get(volume)).toMatchObject({ writer: { podUid: source.podUid } });
    await expect(two.attach(volume, target, here, signal)).rejects.toThrow('already used');
  });

  it('with what the firmware keeps: both write files of their own until then', async () => {
    const [one, two, volume] = [await agent('node1', everybody), await agent('node2', everybody), sharedVolumeUid(randomUUID())];
    await one.create(volume, MIB);
    await one.attach(volume, source, here, signal);
    const before = await one.filesDirectory(volume, source);
    await expectVolume(two, volume, { ...target, node: 'node2' }, [source.podUid]);
    const brought = await incomingFiles(two, volume, target);
    expect(brought).not.toBe(before);
    expect(await one.filesDirectory(volume, source)).toBe(before);
    await handOverVolume(one, volume, source.podUid, THERE);
    await acceptVolume(two, volume, target.podUid);
    expect(await two.filesDirectory(volume, target)).toBe(brought);
    expect(readdirSync(two.directory(volume)).filter((name) => name.startsWith('files'))).toHaveLength(1);
  });
});
