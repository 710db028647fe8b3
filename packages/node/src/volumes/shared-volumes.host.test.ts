import { randomUUID } from 'node:crypto';
import { chmodSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sharedVolumeUid } from '@slipway/api';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PoolSet } from './pools/pool-set.ts';
import { hostQemuImg } from './qemu-img.ts';
import { VolumeStore } from './volume-store.ts';

const signal = new AbortController().signal;
const MIB = 1024 * 1024;
/** What an agent knows of the pods of another node: nothing, as if they were all gone. */
const unknown = (): boolean => true;

let root: string;
let sharedDir: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'slipshared-'));
  chmodSync(root, 0o711);
  sharedDir = join(root, 'shared-volumes');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** The volumes of one agent. */
async function agent(nodeName: string, podsElsewhere?: readonly string[]): Promise<VolumeStore> {
  const stateDir = mkdtempSync(join(root, `${nodeName}-`));
  const pools = new PoolSet({ stateDir, hostPrefix: nodeName, uid: randomUUID, sharedDir });
  const store = new VolumeStore({
    stateDir,
    nodeName,
    qemuImg: hostQemuImg,
    uid: randomUUID,
    pools,
    ...(podsElsewhere && { podsElsewhere: () => Promise.resolve(new Set(podsElsewhere)) }),
  });
  await store.open();
  return store;
}
const pod = (uid: number, more: object = {}) => ({ podUid: randomUUID(), uid, ...more });

describe('volumes that several nodes reach', () => {
  it('are one and the same for all, and one pod writes at a time', async () => {
    const [a, b] = await Promise.all([agent('node1'), agent('node2')]);
    const volume = sharedVolumeUid(randomUUID());
    await a.create(volume, 16 * MIB);
    expect(b.directory(volume)).toBe(a.directory(volume));
    const first = pod(2_350_031, { holder: 'virtual machine instance default/one' });
    await a.attach(volume, first, unknown, signal);
    await expect(b.attach(volume, pod(2_350_032), unknown, signal)).rejects.toThrow(
      'used by virtual machine instance default/one',
    );
    await b.detach(volume, first.podUid); // its own agent alone is asked
    await b.attach(volume, pod(2_350_032), unknown, signal);
    expect(await a.get(volume)).toMatchObject({ writer: { node: 'node2' } });
  });

  it('are taken from a pod of another node when its object is gone', async () => {
    const first = pod(2_350_031);
    const [a, there, gone] = [await agent('node1'), await agent('node2', [first.podUid]), await agent('node3', [])];
    const volume = sharedVolumeUid(randomUUID());
    await a.create(volume, MIB);
    await a.attach(volume, first, unknown, signal);
    await expect(there.attach(volume, pod(2_350_032), unknown, signal)).rejects.toThrow('already used by pod');
    await gone.attach(volume, pod(2_350_033), unknown, signal);
    expect(await a.get(volume)).toMatchObject({ writer: { node: 'node3' } });
  });

  it('go to one of two that ask at the same moment', async () => {
    const [a, b] = await Promise.all([agent('node1'), agent('node2')]);
    for (let round = 0; round < 5; round++) {
      const volume = sharedVolumeUid(randomUUID());
      await a.create(volume, MIB);
      const asked = await Promise.allSettled([
        a.attach(volume, pod(2_350_031), unknown, signal),
        b.attach(volume, pod(2_350_032), unknown, signal),
      ]);
      expect(asked.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    }
  });

  it('are shared by VMs of two nodes when both say so and the claim allows it', async () => {
    const [a, b] = await Promise.all([agent('node1'), agent('node2')]);
    const volume = sharedVolumeUid(randomUUID());
    await a.create(volume, MIB);
    await a.attach(volume, pod(2_350_031, { isShared: true }), unknown, signal);
    const narrow = pod(2_350_032, { isShared: true, isForOneNode: true });
    await expect(b.attach(volume, narrow, unknown, signal)).rejects.toThrow('its claim is for one node');
    await b.attach(volume, pod(2_350_032, { isShared: true }), unknown, signal);
    expect((await a.get(volume)).sharers).toHaveLength(1);
  });

  it('are cloned among themselves and from a node, and are gone everywhere when they are removed', async () => {
    const [a, b] = await Promise.all([agent('node1'), agent('node2')]);
    const [golden, clone] = [sharedVolumeUid(randomUUID()), sharedVolumeUid(randomUUID())];
    await a.create(golden, MIB);
    await a.update(golden, (record) => ({ ...record, state: 'ready' }));
    expect(['overlay', 'reflink']).toContain(await b.clone(golden, clone, 2 * MIB, signal));
    expect(await a.get(clone)).toMatchObject({ virtualSizeBytes: 2 * MIB });
    await a.remove(golden);
    expect(await b.read(golden)).toBeUndefined();
    expect(await b.get(clone)).toMatchObject({ state: 'ready' });
  });

  it('are not made beneath a mount that is missing', async () => {
    const a = await agent('node1');
    renameSync(sharedDir, `${sharedDir}-elsewhere`);
    const volume = sharedVolumeUid(randomUUID());
    await expect(a.create(volume, MIB)).rejects.toThrow('mount its file system there');
    renameSync(`${sharedDir}-elsewhere`, sharedDir);
    await a.create(volume, MIB);
  });
});
