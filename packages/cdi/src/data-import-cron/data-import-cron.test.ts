import {
  DataImportCronKind,
  DataSourceKind,
  DataVolumeKind,
  PersistentVolumeClaimKind,
  PodKind,
  StorageProfileKind,
  VolumeSnapshotClassKind,
  VolumeSnapshotKind,
} from '@slipway/api';
import { built, type Built, pvc, storageClass, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { cdiControllers } from '../index.ts';

let world: TestWorld;
afterEach(() => world.close());

const digest = (letter: string): string => `sha256:${letter.repeat(64)}`;
const cron = (spec: object = {}, source: object = { http: { url: 'https://images.example.com/debian.qcow2' } }) =>
  built(DataImportCronKind, 'images/debian', {
    metadata: { name: 'debian', namespace: 'images' },
    spec: {
      managedDataSource: 'debian12',
      schedule: '0 * * * *',
      template: { spec: { source, storage: { resources: { requests: { storage: '5Gi' } } } } },
      ...spec,
    },
  });
const local = storageClass('local', { metadata: { annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } } });

async function worldWith(...objects: readonly Built[]): Promise<void> {
  world = await testWorld({ controllers: cdiControllers, api: 'server' }).with(local, ...objects);
  await world.settle();
}

const status = async () => (await world.get(DataImportCronKind, 'images/debian')).status;
const condition = async (type: string) => (await status())?.conditions?.find((item) => item.type === type);
const source = async () => (await world.get(DataSourceKind, 'images/debian12')).spec.source;

const poller = async () => (await world.list(PodKind, 'images')).find(({ metadata }) => metadata.name?.startsWith('poller-'));

/** The poller's pod ends as a data mover would end it. */
async function answer(found: string): Promise<void> {
  await podStatus({
    phase: 'Succeeded',
    containerStatuses: [{ name: 'importer', state: { terminated: { exitCode: 0, message: JSON.stringify({ digest: found }) } } }],
  });
}

async function podStatus(next: object): Promise<void> {
  const pod = await poller();
  if (pod === undefined) throw new Error('nobody asks the source');
  await world.client.update(PodKind, { ...pod, status: { ...pod.status, ...next } }, { subresource: 'status' });
  await world.settle();
}

/** The import ends: a claim that is filled. */
async function finish(name: string): Promise<void> {
  const claim = await world.get(PersistentVolumeClaimKind, `images/${name}`);
  const annotations = { ...claim.metadata.annotations, 'cdi.kubevirt.io/storage.pod.phase': 'Succeeded' };
  const filled = { ...claim, metadata: { ...claim.metadata, annotations }, spec: { ...claim.spec, volumeName: `pv-${name}` } };
  const updated = await world.client.update(PersistentVolumeClaimKind, filled);
  await world.client.update(PersistentVolumeClaimKind, { ...updated, status: { phase: 'Bound' } }, { subresource: 'status' });
  await world.settle();
}

describe('a DataImportCron', () => {
  it('asks the source, imports it, and points its DataSource at the import', async () => {
    await worldWith(cron());
    expect(await source()).toEqual({});
    expect(await condition('UpToDate')).toMatchObject({ status: 'False', reason: 'NoDigest' });

    await answer(digest('a'));
    expect(await poller()).toBeUndefined();
    expect(await status()).toMatchObject({
      currentImports: [{ DataVolumeName: 'debian12-aaaaaaaaaaaa', Digest: digest('a') }],
      sourceFormat: 'pvc',
    });
    expect(await condition('UpToDate')).toMatchObject({ status: 'False', reason: 'Outdated' });

    await finish('debian12-aaaaaaaaaaaa');
    expect(await source()).toMatchObject({ pvc: { namespace: 'images', name: 'debian12-aaaaaaaaaaaa' } });
    expect(await condition('UpToDate')).toMatchObject({ status: 'True', reason: 'UpToDate' });
    expect(await condition('Progressing')).toMatchObject({ status: 'False', reason: 'NoImport' });
    expect(await status()).toMatchObject({ lastImportedPVC: { namespace: 'images', name: 'debian12-aaaaaaaaaaaa' } });
  });

  it('imports a new version when it finds one, and keeps as many as asked', async () => {
    await worldWith(cron({ importsToKeep: 1 }));
    await answer(digest('a'));
    await finish('debian12-aaaaaaaaaaaa');
    await world.advance(3_600_000);
    await answer(digest('b'));
    expect(await source()).toMatchObject({ pvc: { name: 'debian12-aaaaaaaaaaaa' } });
    expect(await world.exists(DataVolumeKind, 'images/debian12-aaaaaaaaaaaa')).toBe(true);

    await finish('debian12-bbbbbbbbbbbb');
    expect(await source()).toMatchObject({ pvc: { name: 'debian12-bbbbbbbbbbbb' } });
    expect(await world.exists(DataVolumeKind, 'images/debian12-aaaaaaaaaaaa')).toBe(false);
  });

  it('says why the source cannot be asked, and stays up to date meanwhile', async () => {
    await worldWith(cron());
    const message = 'Unable to connect to http data source: expected status code 200, got 503';
    const failed = { name: 'importer', state: { waiting: {} }, lastState: { terminated: { exitCode: 1, message } } };
    await podStatus({ phase: 'Running', containerStatuses: [failed] });
    expect(await condition('UpToDate')).toMatchObject({ reason: 'NoDigest', message: `No source digest: ${message}` });
    expect(await world.events(cron())).toContain(`Warning PollFailed ${message}`);
  });

  it('leaves a DataSource of another cron alone', async () => {
    const theirs = built(DataSourceKind, 'images/debian12', {
      metadata: { name: 'debian12', namespace: 'images', labels: { 'cdi.kubevirt.io/dataImportCron': 'other' } },
      spec: { source: {} },
    });
    await worldWith(theirs, cron());
    expect(await poller()).toBeUndefined();
    expect(await world.events(cron())).toContain(
      'Warning ErrDataSourceAlreadyManaged DataSource debian12 is already managed by DataImportCron other',
    );
  });

  it.each([
    ['None', false],
    ['All', true],
  ])('with retention policy %s: imports that survive it: %s', async (retentionPolicy, survives) => {
    await worldWith(cron({ retentionPolicy }));
    await answer(digest('a'));
    await world.client.delete(DataImportCronKind, { namespace: 'images', name: 'debian' });
    await world.settle();
    expect(await world.exists(DataVolumeKind, 'images/debian12-aaaaaaaaaaaa')).toBe(survives);
    expect(await world.exists(DataSourceKind, 'images/debian12')).toBe(survives);
  });

  it('makes a snapshot where the storage profile asks for one', async () => {
    const profile = built(StorageProfileKind, 'local', {
      metadata: { name: 'local' },
      spec: { dataImportCronSourceFormat: 'snapshot' },
    });
    const fast = built(VolumeSnapshotClassKind, 'fast', {
      metadata: { name: 'fast' },
      ...{ driver: local.object.provisioner, deletionPolicy: 'Delete' },
    } as object);
    await worldWith(profile, fast, cron());
    await answer(digest('a'));
    await finish('debian12-aaaaaaaaaaaa');
    const snapshot = await world.get(VolumeSnapshotKind, 'images/debian12-aaaaaaaaaaaa');
    expect(snapshot.spec).toMatchObject({
      source: { persistentVolumeClaimName: 'debian12-aaaaaaaaaaaa' },
      volumeSnapshotClassName: 'fast',
    });
    expect(snapshot.metadata.annotations).toMatchObject({ 'cdi.kubevirt.io/storage.import.sourceVolumeMode': 'Filesystem' });
    expect(await source()).toEqual({});

    await world.client.update(VolumeSnapshotKind, { ...snapshot, status: { readyToUse: true } }, { subresource: 'status' });
    await world.settle();
    expect(await source()).toMatchObject({ snapshot: { name: 'debian12-aaaaaaaaaaaa' } });
    expect(await world.exists(DataVolumeKind, 'images/debian12-aaaaaaaaaaaa')).toBe(false);
    expect(await status()).toMatchObject({ sourceFormat: 'snapshot' });
  });

  it('imports once more when the default class for VMs changes', async () => {
    await worldWith(cron());
    await answer(digest('a'));
    const name = 'images/debian12-aaaaaaaaaaaa';
    await finish('debian12-aaaaaaaaaaaa');
    const { uid } = (await world.get(DataVolumeKind, name)).metadata;
    const virt = { metadata: { annotations: { 'storageclass.kubevirt.io/is-default-virt-class': 'true' } } };
    await world.with(storageClass('fast', virt));
    await world.settle();
    expect(await world.exists(DataVolumeKind, name)).toBe(false);
    expect(await condition('UpToDate')).toMatchObject({ status: 'False', reason: 'Outdated' });
    // the garbage collector takes the old claim, which nobody uses
    const old = await world.get(PersistentVolumeClaimKind, name);
    await world.client.update(PersistentVolumeClaimKind, { ...old, metadata: { ...old.metadata, finalizers: [] } });
    await world.client.delete(PersistentVolumeClaimKind, { namespace: 'images', name: 'debian12-aaaaaaaaaaaa' });
    await world.settle();
    expect((await world.get(DataVolumeKind, name)).metadata.uid).not.toBe(uid);
    expect((await world.get(PersistentVolumeClaimKind, name)).spec).toMatchObject({ storageClassName: 'fast' });
    await finish('debian12-aaaaaaaaaaaa');
    expect(await condition('UpToDate')).toMatchObject({ status: 'True', reason: 'UpToDate' });
    expect((await world.get(DataImportCronKind, 'images/debian')).metadata.annotations).toMatchObject({
      'cdi.kubevirt.io/storage.import.storageClass': 'fast',
    });
  });

  it('follows a claim by its uid, as far as its service account may', async () => {
    const golden = pvc('golden/debian', {});
    await worldWith(golden, cron({}, { pvc: { namespace: 'golden', name: 'debian' } }));
    expect(await condition('Progressing')).toMatchObject({ status: 'False', reason: 'NotAuthorized' });
    expect(await poller()).toBeUndefined();
  });
});
