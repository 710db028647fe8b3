import { DataVolumeKind, ObjectTransferKind, PersistentVolumeClaimKind, PersistentVolumeKind, PodKind } from '@slipway/api';
import { cdiControllers, objectTransferAdmission } from '@slipway/cdi';
import { controllers } from '@slipway/controllers';
import { built, type Built, pod, pv, pvc, storageClass, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';

let world: TestWorld;
afterEach(() => world.close());

const transfer = (spec: object) => built(ObjectTransferKind, 'move', { spec });
const toB = transfer({
  source: { kind: 'PersistentVolumeClaim', namespace: 'a', name: 'disk' },
  target: { namespace: 'b' },
});
const claim = pvc('a/disk', {
  metadata: { labels: { keep: 'me' } },
  spec: { volumeName: 'golden' },
  status: { phase: 'Bound' },
});
const volume = pv('golden', {
  spec: { claimRef: { kind: 'PersistentVolumeClaim', namespace: 'a', name: 'disk' } },
});

/** What binds claims and volumes, and keeps claims that are in use. */
const binding = controllers.filter(({ name }) => /^(persistentvolume-|pvc-protection-)/.test(name));

async function worldWith(...objects: readonly Built[]): Promise<void> {
  world = await testWorld({
    controllers: [...cdiControllers, ...binding],
  }).with(
    storageClass('local', { metadata: { annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } } }),
    ...objects,
  );
  await world.settle();
}

const status = async () => (await world.get(ObjectTransferKind, 'move')).status;
const complete = async () => (await status())?.conditions?.find(({ type }) => type === 'Complete');

describe('a transfer of a claim', () => {
  it('gives its volume to a claim of the other namespace and puts everything back', async () => {
    await worldWith(claim, volume, toB);
    expect(await status()).toMatchObject({ phase: 'Complete' });
    expect(await status()).not.toHaveProperty('data');
    expect(await complete()).toMatchObject({ status: 'True', message: 'Transfer complete' });
    expect(await world.exists(PersistentVolumeClaimKind, 'a/disk')).toBe(false);
    const moved = await world.get(PersistentVolumeClaimKind, 'b/disk');
    expect(moved).toMatchObject({
      metadata: { labels: { keep: 'me' } },
      spec: { volumeName: 'golden' },
      status: { phase: 'Bound' },
    });
    expect(moved.metadata.annotations).not.toHaveProperty('cdi.kubevirt.io/objectTransferName');
    expect((await world.get(PersistentVolumeKind, 'golden')).spec).toMatchObject({
      claimRef: { namespace: 'b', name: 'disk', uid: moved.metadata.uid },
      persistentVolumeReclaimPolicy: 'Delete',
    });
    expect((await world.get(ObjectTransferKind, 'move')).metadata.finalizers ?? []).toEqual([]);
  });

  it('waits for a source, and for whoever uses it', async () => {
    const user = pod('a/vm', {
      spec: { volumes: [{ name: 'disk', persistentVolumeClaim: { claimName: 'disk' } }] },
      status: { phase: 'Running' },
    });
    await worldWith(volume, user, toB);
    expect(await status()).toMatchObject({ phase: 'Pending' });
    expect(await complete()).toMatchObject({ status: 'False', message: 'No source' });
    await world.with(claim);
    await world.settle();
    expect(await complete()).toMatchObject({ status: 'False', message: 'Pods using PVC' });
    await world.client.delete(PodKind, { namespace: 'a', name: 'vm' });
    await world.advance(2_000);
    expect(await status()).toMatchObject({ phase: 'Complete' });
  });

  it.each([
    [{ metadata: { annotations: { 'cdi.kubevirt.io/objectTransferName': 'other' } } }, 'Source in use by another transfer'],
    [{ metadata: { finalizers: ['provisioner.storage.kubernetes.io/cloning-protection'] } }, 'PVC has finalizer: provisioner'],
    [{ status: { phase: 'Pending' }, spec: { volumeName: undefined } }, 'PVC not bound'],
  ])(
    'waits while its source is not free: %j',
    async (change: { metadata?: Built['object']['metadata']; status?: object; spec?: object }, message) => {
      const { object } = claim;
      const source = {
        ...object,
        metadata: { ...object.metadata, ...change.metadata },
        spec: { ...object.spec, storageClassName: 'none', ...change.spec },
        status: { ...object.status, ...change.status },
      };
      await worldWith({ kind: PersistentVolumeClaimKind, object: source }, toB);
      expect(await complete()).toMatchObject({ status: 'False', message: expect.stringContaining(message) });
    },
  );
});

describe('a transfer of a DataVolume', () => {
  it('takes its claim along under another name', async () => {
    const spec = { source: { blank: {} }, storage: { resources: { requests: { storage: '1Gi' } } } };
    const dataVolume = built(DataVolumeKind, 'a/disk', { metadata: { labels: { keep: 'me' } }, spec });
    await worldWith(volume, dataVolume);
    const annotations = { 'cdi.kubevirt.io/storage.pod.phase': 'Succeeded' };
    const filled = { metadata: { annotations }, spec: { volumeName: 'golden' } };
    await world.client.patch(PersistentVolumeClaimKind, { namespace: 'a', name: 'disk' }, filled, { type: 'merge' });
    await world.settle();
    expect((await world.get(DataVolumeKind, 'a/disk')).status).toMatchObject({ phase: 'Succeeded' });

    await world.with(
      transfer({ source: { kind: 'DataVolume', namespace: 'a', name: 'disk' }, target: { namespace: 'b', name: 'moved' } }),
    );
    await world.settle();
    expect(await status()).toMatchObject({ phase: 'Complete' });
    expect(await world.list(DataVolumeKind, 'a')).toEqual([]);
    expect(await world.list(PersistentVolumeClaimKind, 'a')).toEqual([]);
    const moved = await world.get(DataVolumeKind, 'b/moved');
    expect(moved).toMatchObject({
      metadata: { labels: { keep: 'me' } },
      spec,
      status: { phase: 'Succeeded', claimName: 'moved' },
    });
    expect((await world.get(PersistentVolumeClaimKind, 'b/moved')).metadata).toMatchObject({
      annotations: { 'cdi.kubevirt.io/storage.populatedFor': 'moved' },
      ownerReferences: [{ kind: 'DataVolume', name: 'moved', uid: moved.metadata.uid }],
    });
    expect((await world.list(ObjectTransferKind)).map(({ metadata: { name } }) => name)).toEqual(['move']);
  });
});

describe('admission', () => {
  const source = { kind: 'DataVolume', namespace: 'a', name: 'disk' };
  it.each<[string, object, string | undefined]>([
    ['a move to another namespace', { source, target: { namespace: 'b' } }, undefined],
    ['a move nowhere', { source, target: {} }, 'Target namespace and/or name'],
    ['a move to itself', { source, target: { name: 'disk' } }, 'are the same'],
    ['another kind', { source: { ...source, kind: 'Secret' }, target: { name: 'x' } }, 'neither DataVolume nor'],
  ])('decides on %s', async (_, spec, message) => {
    world = testWorld({ controllers: [], api: 'server', admission: () => [objectTransferAdmission] });
    const { object } = transfer(spec);
    const answer = world.client.create(ObjectTransferKind, object);
    if (message === undefined) await answer;
    else await expect(answer).rejects.toThrow(message);
  });

  it('keeps the spec as it is', async () => {
    world = await testWorld({ controllers: [], api: 'server', admission: () => [objectTransferAdmission] }).with(toB);
    const change = world.client.patch(
      ObjectTransferKind,
      { namespace: '', name: 'move' },
      { spec: { target: { name: 'x' } } },
      { type: 'merge' },
    );
    await expect(change).rejects.toThrow('spec is immutable');
  });
});
