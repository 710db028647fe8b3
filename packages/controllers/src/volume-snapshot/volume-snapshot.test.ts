import {
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  VolumeSnapshotClassKind,
  VolumeSnapshotContentKind,
  VolumeSnapshotKind,
} from '@slipway/api';
import { type Built, built, pvc, storageClass, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import {
  boundDisk,
  simulatedStorage,
  snapshotClass,
  storageObjects,
  VOLUME_UID,
} from '../vm-snapshot/testing/simulated-storage.ts';
import { volumeSnapshotController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

const storage = simulatedStorage();
const snapshotOf = (source: object): Built => built(VolumeSnapshotKind, 'a/s', { spec: { source } });
const ofDisk = snapshotOf({ persistentVolumeClaimName: 'disk' });

async function start(...objects: readonly Built[]): Promise<void> {
  storage.fate = 'taken';
  world = testWorld({ api: 'server', controllers: [volumeSnapshotController, ...storage.registrations] });
  await world.with(...objects);
  await world.settle();
}

const snapshot = () => world.get(VolumeSnapshotKind, 'a/s');

describe('a volume snapshot', () => {
  it('gets a content for its volume, of the only class of its driver', async () => {
    await start(...storageObjects, ofDisk);
    const { spec, status, metadata } = await snapshot();
    expect(spec.volumeSnapshotClassName).toBe('local');
    expect(status).toMatchObject({ readyToUse: true, restoreSize: '1Gi' });
    const content = await world.get(VolumeSnapshotContentKind, `snapcontent-${metadata.uid}`);
    expect(content.spec).toMatchObject({
      driver: 'local.slipway.dev',
      deletionPolicy: 'Delete',
      source: { volumeHandle: `node1/${VOLUME_UID}` },
      volumeSnapshotRef: { name: 's', namespace: 'a', uid: metadata.uid },
    });
    expect(await world.events(ofDisk)).toContainEqual('Normal SnapshotReady Snapshot a/s is ready to use.');
  });

  it('of a volume of another driver names that, and waits for it', async () => {
    const csi = { csi: { driver: 'rbd.example.com', volumeHandle: 'pool/image-7' } };
    const volume = built(PersistentVolumeKind, 'pv-rbd', {
      spec: { accessModes: ['ReadWriteOnce'], capacity: { storage: '1Gi' }, storageClassName: 'rbd', ...csi },
    });
    const claim = pvc('a/disk', {
      spec: { storageClassName: 'rbd', volumeName: 'pv-rbd', volumeMode: 'Block', resources: { requests: { storage: '1Gi' } } },
      status: { phase: 'Bound', capacity: { storage: '1Gi' } },
    });
    const rbd = built(VolumeSnapshotClassKind, 'rbd-retain', { driver: 'rbd.example.com', deletionPolicy: 'Retain' });
    world = testWorld({ api: 'server', controllers: [volumeSnapshotController] });
    await world.with(storageClass('rbd'), snapshotClass, rbd, volume, claim, ofDisk);
    await world.settle();
    const { spec, status, metadata } = await snapshot();
    const key = { namespace: '', name: `snapcontent-${metadata.uid}` };
    expect(spec.volumeSnapshotClassName).toBe('rbd-retain');
    expect(status).toEqual({ boundVolumeSnapshotContentName: key.name, readyToUse: false });
    expect((await world.get(VolumeSnapshotContentKind, key.name)).spec).toMatchObject({
      driver: 'rbd.example.com',
      deletionPolicy: 'Retain',
      source: { volumeHandle: 'pool/image-7' },
      sourceVolumeMode: 'Block',
    });
    const made = {
      readyToUse: true,
      snapshotHandle: 'pool/snap-1',
      creationTime: 1_700_000_000_000_000_000,
      restoreSize: 1 << 30,
    };
    await world.client.patch(VolumeSnapshotContentKind, key, { status: made }, { type: 'merge', subresource: 'status' });
    await world.settle();
    expect((await snapshot()).status).toMatchObject({
      readyToUse: true,
      restoreSize: '1Gi',
      creationTime: '2023-11-14T22:13:20Z',
    });
  });

  it('keeps its claim while it is made', async () => {
    await start(...storageObjects);
    storage.fate = 'waits';
    await world.with(ofDisk);
    await world.settle();
    const claim = await world.get(PersistentVolumeClaimKind, 'a/disk');
    expect(claim.metadata.finalizers).toContain('snapshot.storage.kubernetes.io/pvc-as-source-protection');
  });

  it('repeats what the driver complains about', async () => {
    await start(...storageObjects);
    storage.fate = 'fails';
    await world.with(ofDisk);
    await world.settle();
    expect((await snapshot()).status).toMatchObject({ readyToUse: false, error: { message: 'no space left' } });
  });

  it.each<[string, readonly Built[], string]>([
    ['no claim', [snapshotClass, ofDisk], 'persistentvolumeclaim "disk" not found'],
    ['an unbound claim', [storageClass('local'), snapshotClass, pvc('a/disk'), ofDisk], 'not yet bound to a PV'],
    ['no class', [storageClass('local'), ...boundDisk(), ofDisk], 'No VolumeSnapshotClass of driver local.slipway.dev'],
    ['no content', [snapshotOf({ volumeSnapshotContentName: 'c' })], 'VolumeSnapshotContent c does not exist'],
  ])('with %s says so', async (_, objects, message) => {
    await start(...objects);
    expect((await snapshot()).status?.error?.message).toContain(message);
  });

  it('takes a content that an administrator made for it, and no other', async () => {
    const content = (name: string): Built =>
      built(VolumeSnapshotContentKind, 'c', {
        spec: {
          driver: 'local.slipway.dev',
          deletionPolicy: 'Retain',
          source: { snapshotHandle: `node1/${VOLUME_UID}` },
          volumeSnapshotRef: { name, namespace: 'a' },
        },
      });
    await start(content('s'), snapshotOf({ volumeSnapshotContentName: 'c' }));
    expect((await snapshot()).status).toMatchObject({ boundVolumeSnapshotContentName: 'c', readyToUse: true });
    await world.client.delete(VolumeSnapshotKind, { namespace: 'a', name: 's' });
    await world.settle();
    expect(await world.exists(VolumeSnapshotKind, 'a/s')).toBe(false);
    expect(await world.exists(VolumeSnapshotContentKind, 'c')).toBe(true);
    await world.close();
    await start(content('other'), snapshotOf({ volumeSnapshotContentName: 'c' }));
    expect((await snapshot()).status?.error?.message).toBe('VolumeSnapshotContent c belongs to another snapshot');
  });

  it('of a class that retains leaves its content behind', async () => {
    const retain = built(VolumeSnapshotClassKind, 'local', { driver: 'local.slipway.dev', deletionPolicy: 'Retain' });
    await start(storageClass('local'), retain, ...boundDisk(), ofDisk);
    const name = `snapcontent-${(await snapshot()).metadata.uid}`;
    await world.client.delete(VolumeSnapshotKind, { namespace: 'a', name: 's' });
    await world.settle();
    expect(await world.exists(VolumeSnapshotKind, 'a/s')).toBe(false);
    expect(await world.exists(VolumeSnapshotContentKind, name)).toBe(true);
  });

  it('stays until a claim is filled that is made from it', async () => {
    await start(...storageObjects, ofDisk);
    const source = { apiGroup: 'snapshot.storage.k8s.io', kind: 'VolumeSnapshot', name: 's' };
    const restored = pvc('a/back', { spec: { dataSource: source } });
    await world.with(restored);
    await world.client.patch(
      PersistentVolumeClaimKind,
      { namespace: 'a', name: 'back' },
      { status: { phase: 'Pending' } },
      { type: 'merge', subresource: 'status' },
    );
    await world.client.delete(VolumeSnapshotKind, { namespace: 'a', name: 's' });
    await world.settle();
    expect((await snapshot()).metadata.deletionTimestamp).toBeDefined();
    await world.client.patch(
      PersistentVolumeClaimKind,
      { namespace: 'a', name: 'back' },
      { status: { phase: 'Bound' } },
      { type: 'merge', subresource: 'status' },
    );
    await world.advance(5_000);
    expect(await world.exists(VolumeSnapshotKind, 'a/s')).toBe(false);
  });

  it.each([[{ persistentVolumeClaimName: 'disk', volumeSnapshotContentName: 'c' }], [{}]])(
    'with the source %j is refused',
    async (source) => {
      await start();
      await expect(world.with(snapshotOf(source))).rejects.toThrow('exactly one of volumeSnapshotContentName');
    },
  );

  it('cannot be pointed at another claim', async () => {
    await start(...storageObjects, ofDisk);
    const change = { spec: { source: { persistentVolumeClaimName: 'other' } } };
    const patched = world.client.patch(VolumeSnapshotKind, { namespace: 'a', name: 's' }, change, { type: 'merge' });
    await expect(patched).rejects.toThrow('persistentVolumeClaimName is immutable');
  });
});
