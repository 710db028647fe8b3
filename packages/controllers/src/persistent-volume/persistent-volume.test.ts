import { PersistentVolumeClaimKind, PersistentVolumeKind, PodKind } from '@slipway/api';
import {
  type Built,
  built,
  node,
  onNode,
  pod,
  pv,
  pvc,
  startWithNodes,
  storageClass,
  type TestWorld,
  testWorld,
} from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeLifecycleController } from '../node-lifecycle/index.ts';
import { claimController, claimProtectionController, volumeController, volumeProtectionController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

async function worldWith(...objects: readonly Built[]): Promise<void> {
  const controllers = [
    claimController,
    volumeController,
    claimProtectionController,
    volumeProtectionController,
    nodeLifecycleController,
  ];
  world = testWorld({ api: 'server', controllers });
  await startWithNodes(world, objects);
}

const claim = (path = 'a/disk') => world.get(PersistentVolumeClaimKind, path);
const volume = (name: string) => world.get(PersistentVolumeKind, name);
const immediate = storageClass('now', { volumeBindingMode: 'Immediate' });
const immediateClaim = pvc('a/disk', { spec: { storageClassName: 'now' } });
const claimRef = { kind: 'PersistentVolumeClaim', namespace: 'a', name: 'disk' };

describe('persistent volumes', () => {
  it('leaves a claim alone until it has a consumer', async () => {
    await worldWith(node('node1'), storageClass('local'), pvc('a/disk'));
    expect((await claim()).metadata.annotations).toBeUndefined();
    expect(await world.events(pvc('a/disk'))).toEqual([
      'Normal WaitForFirstConsumer waiting for first consumer to be created before binding',
    ]);
  });

  it('sends an immediate claim of the local provisioner to the node with the fewest volumes', async () => {
    await worldWith(
      node('node1'),
      node('node2', { spec: { unschedulable: true } }),
      node('node3'),
      pv('taken', { spec: { claimRef: { ...claimRef, name: 'other' } } }),
      immediate,
      immediateClaim,
    );
    expect((await claim()).metadata.annotations).toMatchObject({
      'volume.kubernetes.io/selected-node': 'node3',
      'volume.kubernetes.io/storage-provisioner': 'local.slipway.dev',
    });
  });

  it('clones a node-local volume on the node that holds it', async () => {
    const source = pvc('a/golden', { spec: { storageClassName: 'now', volumeName: 'golden' }, status: { phase: 'Bound' } });
    const clone = pvc('a/disk', {
      spec: { storageClassName: 'now', dataSourceRef: { kind: 'PersistentVolumeClaim', name: 'golden' } },
    });
    const volume = pv('golden', {
      spec: { storageClassName: 'now', nodeAffinity: onNode('node2'), claimRef: { ...claimRef, name: 'golden' } },
    });
    await worldWith(node('node1'), node('node2'), immediate, volume, source, clone);
    expect((await claim()).metadata.annotations?.['volume.kubernetes.io/selected-node']).toBe('node2');
  });

  it('does not choose a node for other provisioners', async () => {
    await worldWith(
      node('node1'),
      storageClass('now', { volumeBindingMode: 'Immediate', provisioner: 'csi.example.com' }),
      immediateClaim,
    );
    const { annotations = {} } = (await claim()).metadata;
    expect(annotations['volume.kubernetes.io/storage-provisioner']).toBe('csi.example.com');
    expect(annotations['volume.kubernetes.io/selected-node']).toBeUndefined();
  });

  it('binds the volume that a provisioner made for the claim', async () => {
    await worldWith(node('node1'), storageClass('local'), pvc('a/disk'));
    const { uid = '' } = (await claim()).metadata;
    const before = world.requests.length;
    const metadata = { name: 'made', finalizers: ['kubernetes.io/pv-protection'] };
    await world.with(pv('made', { metadata, spec: { claimRef: { ...claimRef, uid }, capacity: { storage: '2Gi' } } }));
    await world.settle();
    expect(await claim()).toMatchObject({
      metadata: { annotations: { 'pv.kubernetes.io/bind-completed': 'yes' }, finalizers: ['kubernetes.io/pvc-protection'] },
      spec: { volumeName: 'made' },
      status: { phase: 'Bound', capacity: { storage: '2Gi' }, accessModes: ['ReadWriteOnce'] },
    });
    expect((await volume('made')).status?.phase).toBe('Bound');
    expect(new Set(world.requests.slice(before).filter((request) => !request.includes('events')))).toEqual(
      new Set([
        'create persistentvolumes made',
        'patch persistentvolumes/status made',
        'update persistentvolumeclaims disk',
        'update persistentvolumeclaims/status disk',
        'update persistentvolumes/status made',
      ]),
    );
  });

  it('takes the smallest free volume that fits, once', async () => {
    const sized = (name: string, storage: string) => pv(name, { spec: { storageClassName: 'now', capacity: { storage } } });
    await worldWith(
      immediate,
      sized('small', '500Mi'),
      sized('large', '9Gi'),
      sized('right', '2Gi'),
      immediateClaim,
      pvc('a/second', { spec: { storageClassName: 'now' } }),
    );
    const names = [(await claim()).spec?.volumeName, (await claim('a/second')).spec?.volumeName];
    expect(new Set(names)).toEqual(new Set(['right', 'large']));
    expect((await volume('small')).status?.phase).toBe('Available');
  });

  it('releases a volume when its claim is gone, and loses a claim whose volume is gone', async () => {
    const spec = { storageClassName: 'now', persistentVolumeReclaimPolicy: 'Retain' as const };
    await worldWith(immediate, pv('one', { spec }), immediateClaim);
    expect((await claim()).status?.phase).toBe('Bound');
    await world.client.delete(PersistentVolumeClaimKind, { namespace: 'a', name: 'disk' });
    await world.settle();
    expect(await world.exists(PersistentVolumeClaimKind, 'a/disk')).toBe(false);
    expect((await volume('one')).status?.phase).toBe('Released');
  });

  it('loses a claim whose volume is gone', async () => {
    await worldWith(immediate, pv('one', { spec: { storageClassName: 'now' } }), immediateClaim);
    await world.client.delete(PersistentVolumeKind, { namespace: '', name: 'one' });
    await world.settle();
    expect((await claim()).status?.phase).toBe('Bound');
    const forced = await volume('one');
    await world.client.update(PersistentVolumeKind, { ...forced, metadata: { ...forced.metadata, finalizers: [] } });
    await world.settle();
    expect((await claim()).status?.phase).toBe('Lost');
    expect(await world.events(immediateClaim)).toContain(
      'Warning ClaimLost Bound claim has lost its PersistentVolume. Data on the volume is lost!',
    );
  });

  it('hands a volume over when a populator points it at the claim', async () => {
    const populated = pvc('a/disk', {
      spec: { storageClassName: 'now', dataSourceRef: { apiGroup: 'cdi.kubevirt.io', kind: 'VolumeImportSource', name: 'src' } },
    });
    await worldWith(node('node1'), immediate, populated, pvc('a/prime', { spec: { storageClassName: 'now' } }));
    expect((await claim()).metadata.annotations).toBeUndefined();
    const prime = await claim('a/prime');
    await world.with(
      pv('made', { spec: { storageClassName: 'now', claimRef: { ...claimRef, name: 'prime', uid: prime.metadata.uid ?? '' } } }),
    );
    await world.settle();
    const made = await volume('made');
    await world.client.update(PersistentVolumeKind, {
      ...made,
      spec: { ...made.spec, claimRef: { ...claimRef, uid: (await claim()).metadata.uid ?? '' } },
    });
    await world.settle();
    expect((await claim()).spec?.volumeName).toBe('made');
    expect((await claim('a/prime')).status?.phase).toBe('Lost');
  });

  it('says that a claim is growing until its volume has grown', async () => {
    await worldWith(
      storageClass('now', { volumeBindingMode: 'Immediate', allowVolumeExpansion: true }),
      pv('one', { spec: { storageClassName: 'now' } }),
      immediateClaim,
    );
    const before = await claim();
    await world.client.update(PersistentVolumeClaimKind, {
      ...before,
      spec: { ...before.spec, resources: { requests: { storage: '3Gi' } } },
    });
    await world.settle();
    expect((await claim()).status).toMatchObject({
      capacity: { storage: '1Gi' },
      conditions: [{ type: 'Resizing', status: 'True' }],
    });
    const one = await volume('one');
    await world.client.update(PersistentVolumeKind, { ...one, spec: { ...one.spec, capacity: { storage: '3Gi' } } });
    await world.settle();
    expect((await claim()).status).toMatchObject({ capacity: { storage: '3Gi' } });
    expect((await claim()).status?.conditions).toBeUndefined();
    expect(await world.events(immediateClaim)).toContain('Normal VolumeResizeSuccessful Resized volume one');
  });

  it('keeps a claim while a pod that runs uses it', async () => {
    const user = pod('a/user', {
      spec: { nodeName: 'node1', volumes: [{ name: 'disk', persistentVolumeClaim: { claimName: 'disk' } }] },
    });
    await worldWith(immediate, pv('one', { spec: { storageClassName: 'now' } }), immediateClaim, user);
    await world.client.delete(PersistentVolumeClaimKind, { namespace: 'a', name: 'disk' });
    await world.settle();
    expect((await claim()).metadata.deletionTimestamp).toBeDefined();
    await world.client.delete(PodKind, { namespace: 'a', name: 'user' }, { gracePeriodSeconds: 0 });
    await world.settle();
    expect(await world.exists(PersistentVolumeClaimKind, 'a/disk')).toBe(false);
  });

  it.each([
    [undefined, 'Normal FailedBinding no persistent volumes available for this claim and no storage class is set'],
    ['missing', 'Warning ProvisioningFailed storageclass.storage.k8s.io "missing" not found'],
  ])('says why a claim of class %s stays unbound', async (storageClassName, message) => {
    const built = pvc('a/disk', { spec: { storageClassName: storageClassName ?? '' } });
    await worldWith(built);
    expect(await world.events(built)).toEqual([message]);
  });

  it('gets the default class when there is one, after it was made without', async () => {
    const { storageClassName: _, ...spec } = pvc('a/disk').object.spec ?? {};
    const early = built(PersistentVolumeClaimKind, 'a/disk', { spec });
    const unnamed = pvc('a/none', { spec: { storageClassName: '' } });
    await worldWith(node('node1'), early, unnamed);
    expect((await claim()).spec?.storageClassName).toBeUndefined();
    const annotations = { 'storageclass.kubernetes.io/is-default-class': 'true' };
    await world.with(storageClass('new', { volumeBindingMode: 'Immediate', metadata: { name: 'new', annotations } }));
    await world.settle();
    expect((await claim()).spec?.storageClassName).toBe('new');
    expect((await claim()).metadata.annotations?.['volume.kubernetes.io/selected-node']).toBe('node1');
    expect((await claim('a/none')).spec?.storageClassName).toBe('');
  });

  it('says that nobody fills a claim from a kind that is not there', async () => {
    const source = { apiGroup: 'example.com', kind: 'Magic', name: 'm' };
    const filled = pvc('a/disk', { spec: { storageClassName: 'now', dataSourceRef: source } });
    await worldWith(node('node1'), immediate, filled);
    expect(await world.events(filled)).toEqual([
      expect.stringMatching(/^Warning UnrecognizedDataSourceKind The datasource for this PVC does not match any registered/),
    ]);
  });

  it.each([
    ['Retain', undefined, 'Released', []],
    ['Delete', { 'pv.kubernetes.io/provisioned-by': 'csi.example.com' }, 'Released', []],
    ['Delete', undefined, 'Failed', ['VolumeFailedDelete']],
    ['Recycle', undefined, 'Failed', ['VolumeFailedRecycle']],
  ] as const)('with policy %s and annotations %j is %s without its claim', async (policy, annotations, phase, reasons) => {
    const made = pv('made', {
      metadata: { ...(annotations && { annotations }) },
      spec: { storageClassName: 'now', persistentVolumeReclaimPolicy: policy },
    });
    await worldWith(immediate, made, immediateClaim);
    expect((await claim()).status?.phase).toBe('Bound');
    await world.client.delete(PersistentVolumeClaimKind, { namespace: 'a', name: 'disk' });
    await world.settle();
    expect((await volume('made')).status?.phase).toBe(phase);
    expect((await world.events(made)).map((event) => event.split(' ')[1])).toEqual(reasons);
  });
});
