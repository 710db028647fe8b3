import { type DataVolume, DataVolumeKind, PersistentVolumeClaimKind, type Pod, PodKind } from '@slipway/api';
import { built, storageClass, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cdiControllers } from '../index.ts';
import { importerName } from './importer-pod.ts';

let world: TestWorld;
afterEach(() => world.close());

const PREFIX = 'cdi.kubevirt.io/storage.checkpoint.';
const key = { namespace: 'a', name: 'disk' };
const vddk = { url: 'https://vcenter', uuid: 'u', backingFile: '[ds] d.vmdk', thumbprint: 'AA', secretRef: 'keys' };
const local = storageClass('local', { metadata: { annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } } });

const volume = (spec: object) =>
  built(DataVolumeKind, 'a/disk', {
    metadata: { ...key, uid: 'dv-uid' },
    spec: { source: { vddk }, storage: { resources: { requests: { storage: '1Gi' } } }, ...spec },
  });
const dataVolume = () => world.get(DataVolumeKind, 'a/disk');
const claim = () => world.get(PersistentVolumeClaimKind, 'a/disk');
const checkpoint = async (name: string) => (await claim()).metadata.annotations?.[PREFIX + name];

async function start(spec: object): Promise<void> {
  world = await testWorld({ controllers: cdiControllers }).with(local, volume(spec));
  await world.settle();
  const found = await claim();
  await world.client.update(PersistentVolumeClaimKind, { ...found, spec: { ...found.spec, volumeName: 'pv1' } });
  await world.client.patch(
    PersistentVolumeClaimKind,
    key,
    { status: { phase: 'Bound' } },
    { type: 'merge', subresource: 'status' },
  );
  await world.settle();
}

/** The worker of a stage says that it has copied everything; returns what it was asked. */
async function copied(stage: string): Promise<Record<string, string | undefined>> {
  const pod: Pod = await world.get(PodKind, `a/importer-disk-checkpoint-${stage}`);
  const containerStatuses = [{ name: 'importer', state: { terminated: { exitCode: 0, message: '{}' } } }];
  await world.client.update(PodKind, { ...pod, status: { phase: 'Succeeded', containerStatuses } } as Pod, {
    subresource: 'status',
  });
  await world.settle();
  return Object.fromEntries((pod.spec?.containers[0]?.env ?? []).map(({ name, value }) => [name, value]));
}

const change = async (spec: Partial<DataVolume['spec']>): Promise<void> => {
  await world.client.patch(DataVolumeKind, key, { spec }, { type: 'merge' });
  await world.settle();
};

describe('an import with checkpoints', () => {
  beforeEach(() => start({ checkpoints: [{ previous: '', current: 'cp1' }], finalCheckpoint: false }));

  it('pauses after the last one that is known, and ends after the final one', async () => {
    expect((await dataVolume()).status).toMatchObject({ phase: 'ImportScheduled' });
    expect(await copied('cp1')).toMatchObject({
      IMPORTER_CURRENT_CHECKPOINT: 'cp1',
      IMPORTER_PREVIOUS_CHECKPOINT: '',
      IMPORTER_FINAL_CHECKPOINT: 'false',
    });
    expect((await dataVolume()).status).toMatchObject({ phase: 'Paused' });
    expect((await dataVolume()).status?.conditions).toContainEqual(expect.objectContaining({ type: 'Ready', status: 'False' }));
    expect(await checkpoint('copied.cp1')).toMatch(/./);
    expect(await world.exists(PodKind, 'a/importer-disk-checkpoint-cp1')).toBe(false);

    await change({
      checkpoints: [
        { previous: '', current: 'cp1' },
        { previous: 'cp1', current: 'cp2' },
        { previous: 'cp2', current: 'cp3' },
      ],
    });
    expect((await dataVolume()).status).toMatchObject({ phase: 'ImportScheduled' });
    expect(await copied('cp2')).toMatchObject({ IMPORTER_PREVIOUS_CHECKPOINT: 'cp1', IMPORTER_FINAL_CHECKPOINT: 'false' });
    // the next stage follows without a pause
    expect((await dataVolume()).status).toMatchObject({ phase: 'ImportScheduled' });
    expect(await copied('cp3')).toMatchObject({ IMPORTER_PREVIOUS_CHECKPOINT: 'cp2' });
    expect((await dataVolume()).status).toMatchObject({ phase: 'Paused' });

    await change({ finalCheckpoint: true });
    expect((await dataVolume()).status).toMatchObject({ phase: 'Succeeded', progress: '100.0%' });
    expect(await checkpoint('done')).toBe('true');
    expect(await world.events(volume({}))).toEqual(
      expect.arrayContaining([
        'Normal ImportPaused Multistage import into PVC disk is paused',
        'Normal ImportSucceeded Successfully imported into PVC disk',
      ]),
    );
  });

  it('tells the worker which stage is the last one', async () => {
    await copied('cp1');
    await change({
      finalCheckpoint: true,
      checkpoints: [...((await dataVolume()).spec.checkpoints ?? []), { previous: 'cp1', current: 'cp2' }],
    });
    expect(await copied('cp2')).toMatchObject({ IMPORTER_FINAL_CHECKPOINT: 'true' });
    expect((await dataVolume()).status).toMatchObject({ phase: 'Succeeded' });
    expect(await world.exists(PodKind, 'a/importer-disk-checkpoint-cp2')).toBe(false);
  });
});

it('names the worker of each stage differently, however long the names are', () => {
  const named = (name: string, current: string): string =>
    importerName(
      built(PersistentVolumeClaimKind, `a/${name}`, { metadata: { name, annotations: { [`${PREFIX}current`]: current } } })
        .object,
    );
  expect(named('disk', 'snapshot-51')).toBe('importer-disk-checkpoint-snapshot-51');
  expect(named('disk', '52 0d/7')).toMatch(/^[a-z0-9-]+$/);
  const [first, second] = ['1', '2'].map((end) => named('d'.repeat(240), `snapshot-${end}`));
  expect(first).not.toBe(second);
  expect(first?.length).toBeLessThanOrEqual(253);
});
