import {
  CSIDriverKind,
  type CSIStorageCapacity,
  CSIStorageCapacityKind,
  type HostPathProvisioner,
  HostPathProvisionerKind,
  NodeKind,
  STORAGE_POOLS_ANNOTATION,
  StorageClassKind,
  type StoragePoolReport,
} from '@slipway/api';
import { type Built, built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { hostPathAdmission, operators } from '../index.ts';
import { complaintAbout, warningsAbout } from './host-path-admission.ts';
import { HOST_PATH_FINALIZER } from './index.ts';
import { planHostPathStatus } from './plan-status.ts';

const GiB = 1024 ** 3;
const fast = { name: 'fast', path: '/srv/fast' };
const KEY = { namespace: '', name: 'hostpath-provisioner' };

const hpp = (spec: HostPathProvisioner['spec']): Built<HostPathProvisioner> => built(HostPathProvisionerKind, KEY.name, { spec });

const report = (change: Partial<StoragePoolReport> = {}): StoragePoolReport => ({
  ...{ ...fast, totalBytes: 100 * GiB, freeBytes: 60 * GiB, promisedBytes: 150 * GiB, usedBytes: 30 * GiB },
  ...{ volumes: 3, isSharedWithSystem: false },
  ...change,
});

const nodeWith = (name: string, reports: readonly StoragePoolReport[], labels: Record<string, string> = {}) =>
  built(NodeKind, name, { metadata: { name, labels, annotations: { [STORAGE_POOLS_ANNOTATION]: JSON.stringify(reports) } } });

describe('the words of a HostPathProvisioner', () => {
  it.each<[HostPathProvisioner['spec'], string | undefined]>([
    [{ storagePools: [fast] }, undefined],
    [{ pathConfig: { path: '/var/hpvolumes' } }, undefined],
    [{}, 'either pathConfig or storage pools must be set'],
    [{ pathConfig: { path: '/a' }, storagePools: [fast] }, 'pathConfig and storage pools cannot be both set'],
    [{ pathConfig: {} }, 'pathconfig path must be set'],
    [{ storagePools: [{ name: ' ', path: '/a' }] }, 'name cannot be blank'],
    [{ storagePools: [{ name: 'a', path: '' }] }, 'path cannot be blank'],
    [{ storagePools: [fast, { ...fast, path: '/srv/b' }] }, 'duplicate names'],
    [{ storagePools: [fast, { ...fast, name: 'b' }] }, 'duplicate paths'],
    [{ storagePools: [{ ...fast, name: 'n'.repeat(51) }] }, 'more than 50 characters'],
  ])('%j', (spec, complaint) => {
    const found = complaintAbout(hpp(spec).object);
    if (complaint === undefined) expect(found).toBeUndefined();
    else expect(found).toContain(complaint);
  });

  it('that have no effect are told', () => {
    const pool = { ...fast, pvcTemplate: { accessModes: ['ReadWriteOnce'] }, overlayClassName: 'x' };
    const warnings = warningsAbout(hpp({ storagePools: [pool], workload: { affinity: {} } }).object);
    expect(warnings.map((text) => text.split(' has no')[0])).toEqual([
      'pool fast: pvcTemplate',
      'pool fast: overlayClassName',
      'spec.workload.affinity',
    ]);
  });
});

describe('the status of a HostPathProvisioner', () => {
  const plan = (nodes: readonly { object: Parameters<typeof planHostPathStatus>[1][number] }[], spec = {}) => {
    const { conditions, storagePoolStatuses } = planHostPathStatus(
      hpp({ storagePools: [fast], ...spec }).object,
      nodes.map(({ object }) => object),
    );
    const [{ phase, desiredReady, currentReady } = { phase: '' }] = storagePoolStatuses;
    return [
      conditions
        .filter(({ status }) => status === 'True')
        .map(({ type }) => type)
        .join(),
      phase,
      desiredReady,
      currentReady,
    ];
  };
  it.each<[string, Parameters<typeof plan>, unknown[]]>([
    ['all nodes have the pool', [[nodeWith('a', [report()]), nodeWith('b', [report()])]], ['Available', 'Ready', 2, 2]],
    ['one has not said so yet', [[nodeWith('a', [report()]), nodeWith('b', [])]], ['Progressing', 'Preparing', 2, 1]],
    ['one has it elsewhere', [[nodeWith('a', [report({ path: '/old' })])]], ['Progressing', 'Preparing', 1, 0]],
    ['one cannot use it', [[nodeWith('a', [report({ problem: 'not mounted' })])]], ['Degraded', 'Preparing', 1, 0]],
    [
      'others are not meant',
      [[nodeWith('a', [report()], { disks: 'yes' }), nodeWith('b', [])], { workload: { nodeSelector: { disks: 'yes' } } }],
      ['Available', 'Ready', 1, 1],
    ],
    ['there is no node', [[]], ['Progressing', 'Preparing', 0, 0]],
  ])('%s', (_, args, expected) => {
    expect(plan(...args)).toEqual(expected);
  });
});

describe('the hostpath provisioner', () => {
  let world: TestWorld;
  afterEach(() => world.close());

  const capacities = async (): Promise<readonly CSIStorageCapacity[]> => (await world.client.list(CSIStorageCapacityKind)).items;

  it('is available when its pools are, tells the room in them, and leaves nothing behind', async () => {
    world = testWorld({ api: 'server', controllers: operators, admission: () => [hostPathAdmission] });
    await world.settle();
    const provisioner = 'kubevirt.io.hostpath-provisioner';
    await world.with(
      hpp({ storagePools: [fast], imagePullPolicy: 'Always' }),
      built(StorageClassKind, 'hostpath-csi', { provisioner, parameters: { storagePool: 'fast' } }),
      built(StorageClassKind, 'other', { provisioner: 'rbd.csi.ceph.com' }),
      built(StorageClassKind, 'for-all', { provisioner: 'shared.slipway.dev' }),
      nodeWith('one', [report()]),
    );
    await world.settle();

    const object = await world.get(HostPathProvisionerKind, KEY.name);
    expect(object.metadata.finalizers).toEqual([HOST_PATH_FINALIZER]);
    expect(object.status).toMatchObject({
      observedVersion: '0.0.0-test',
      storagePoolStatuses: [{ name: 'fast', phase: 'Ready', desiredReady: 1, currentReady: 1 }],
    });
    expect(object.status?.conditions).toContainEqual(
      expect.objectContaining({ type: 'Available', status: 'True', reason: 'Complete', message: 'Application Available' }),
    );
    expect(await world.get(CSIDriverKind, provisioner)).toMatchObject({ spec: { attachRequired: false, storageCapacity: true } });
    expect(await capacities()).toMatchObject([
      {
        metadata: {
          name: 'hostpath-csi.one',
          annotations: {
            ...{ 'slipway.dev/total': '100Gi', 'slipway.dev/free': '60Gi', 'slipway.dev/promised': '150Gi' },
            ...{ 'slipway.dev/used': '30Gi', 'slipway.dev/volumes': '3' },
          },
        },
        storageClassName: 'hostpath-csi',
        nodeTopology: { matchLabels: { 'kubernetes.io/hostname': 'one' } },
        capacity: '60Gi',
        maximumVolumeSize: '100Gi',
      },
    ]);

    const problem = 'Storage pool "fast" is not mounted';
    const annotations = { [STORAGE_POOLS_ANNOTATION]: JSON.stringify([report({ problem })]) };
    await world.client.patch(NodeKind, { namespace: '', name: 'one' }, { metadata: { annotations } }, { type: 'merge' });
    await world.settle();
    expect((await world.get(HostPathProvisionerKind, KEY.name)).status?.conditions).toContainEqual(
      expect.objectContaining({ type: 'Degraded', status: 'True', message: `fast on node one: ${problem}` }),
    );
    expect(await capacities()).toMatchObject([{ capacity: '0', metadata: { annotations: { 'slipway.dev/problem': problem } } }]);

    await world.client.delete(HostPathProvisionerKind, KEY);
    await world.client.delete(StorageClassKind, { namespace: '', name: 'hostpath-csi' });
    await world.settle();
    expect((await world.client.list(HostPathProvisionerKind)).items).toEqual([]);
    expect((await world.client.list(CSIDriverKind)).items).toEqual([]);
    expect(await capacities()).toEqual([]);
  });
});
