import { type PersistentVolume, type PersistentVolumeClaim, PersistentVolumeClaimKind, PersistentVolumeKind } from '@slipway/api';
import { type Built, onNode, pv, pvc, storageClass, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';

let world: TestWorld;
afterEach(() => world.close());

async function start(...objects: readonly Built[]): Promise<void> {
  world = testWorld({ api: 'server', controllers: [] });
  await world.with(...objects);
}

const KEY = { namespace: 'a', name: 'disk' };
const claim = (): Promise<PersistentVolumeClaim> => world.get(PersistentVolumeClaimKind, KEY);
const refusal = (change: Promise<unknown>): Promise<string> =>
  change.then(
    () => 'accepted',
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );

const bound = (capacity: string, request = '2Gi', storageClassName = 'local'): Built =>
  pvc('a/disk', {
    spec: { storageClassName, volumeName: 'pv', resources: { requests: { storage: request } } },
    status: { phase: 'Bound', capacity: { storage: capacity } },
  });
const resize = (storage: string): Promise<string> =>
  refusal(
    world.client.patch(PersistentVolumeClaimKind, KEY, { spec: { resources: { requests: { storage } } } }, { type: 'merge' }),
  );

describe('the size of a claim', () => {
  const rigid = storageClass('rigid', { allowVolumeExpansion: false });
  it.each<[string, Built, string, string]>([
    ['grows where its class allows it', bound('2Gi'), '3Gi', 'accepted'],
    [
      'does not grow in a class that does not',
      bound('2Gi', '2Gi', 'rigid'),
      '3Gi',
      'is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize',
    ],
    ['does not grow without a class', bound('2Gi', '2Gi', ''), '3Gi', 'must support resize'],
    [
      'does not grow before it is bound',
      pvc('a/disk'),
      '3Gi',
      'spec is immutable after creation except resources.requests for bound claims',
    ],
    ['does not shrink', bound('2Gi'), '1Gi', 'field can not be less than previous value'],
    ['takes back a growth that is not met', bound('1Gi', '90Gi'), '2Gi', 'accepted'],
    ['does not go back to what it had', bound('1Gi', '90Gi'), '1Gi', 'field can not be less than status.capacity'],
  ])('%s', async (_, object, size, answer) => {
    await start(storageClass('local'), rigid, object);
    expect(await resize(size)).toContain(answer);
  });
});

describe('the data source of a claim', () => {
  type Source = NonNullable<PersistentVolumeClaim['spec']>['dataSourceRef'];
  const snapshot = { apiGroup: 'snapshot.storage.k8s.io', kind: 'VolumeSnapshot', name: 's' };
  const other = { kind: 'PersistentVolumeClaim', name: 'golden' };
  const custom = { apiGroup: 'cdi.kubevirt.io', kind: 'VolumeImportSource', name: 'i' };
  const create = (spec: { dataSource?: Source; dataSourceRef?: Source }): Promise<unknown> =>
    world.client.create(
      PersistentVolumeClaimKind,
      pvc('a/disk', { spec: spec as NonNullable<PersistentVolumeClaim['spec']> }).object,
    );

  it.each([
    ['a snapshot', { dataSource: snapshot }, snapshot, snapshot],
    ['a claim', { dataSourceRef: other }, other, other],
    ['something else', { dataSourceRef: custom }, custom, custom],
    ['something else in the old field', { dataSource: custom }, undefined, undefined],
    ['something of another namespace', { dataSourceRef: { ...other, namespace: 'b' } }, undefined, { ...other, namespace: 'b' }],
  ])('that is %s stands in both fields when it can', async (_, spec, dataSource, dataSourceRef) => {
    await start(pvc('a/x'));
    await create(spec);
    const { spec: stored } = await claim();
    expect([stored?.dataSource, stored?.dataSourceRef]).toEqual([dataSource, dataSourceRef]);
  });

  it.each([
    [{ dataSource: snapshot, dataSourceRef: other }, 'must match dataSourceRef'],
    [{ dataSourceRef: { kind: 'Pod', name: 'p' } }, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"],
    [{ dataSourceRef: { kind: 'PersistentVolumeClaim', name: '' } }, 'spec.dataSourceRef.name: Required value'],
  ])('%j is refused', async (spec, message) => {
    await start(pvc('a/x'));
    expect(await refusal(create(spec))).toContain(message);
  });
});

describe('a volume', () => {
  const change = (spec: Partial<NonNullable<PersistentVolume['spec']>>): Promise<string> =>
    refusal(world.client.patch(PersistentVolumeKind, { namespace: '', name: 'v' }, { spec }, { type: 'merge' }));

  it.each<[string, Partial<NonNullable<PersistentVolume['spec']>>, string]>([
    ['reclaim policy', { persistentVolumeReclaimPolicy: 'Retain' }, 'accepted'],
    ['capacity', { capacity: { storage: '2Gi' } }, 'accepted'],
    ['place', { local: { path: '/elsewhere' } }, 'spec.persistentvolumesource is immutable after creation'],
    ['node', { nodeAffinity: onNode('node2') }, 'spec.nodeAffinity'],
    ['mode', { volumeMode: 'Block' }, 'spec.volumeMode'],
  ])('may change its %s, or not', async (_, spec, answer) => {
    await start(pv('v'));
    expect(await change(spec)).toContain(answer);
  });

  it('that a node agent has made may come to another node, with a guest', async () => {
    await start(pv('v', { metadata: { annotations: { 'pv.kubernetes.io/provisioned-by': 'local.slipway.dev' } } }));
    expect(await change({ nodeAffinity: onNode('node2') })).toBe('accepted');
    expect(await change({ nodeAffinity: null as never })).toContain('spec.nodeAffinity');
  });
});
