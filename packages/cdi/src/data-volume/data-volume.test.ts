import {
  DataSourceKind,
  type DataVolume,
  DataVolumeKind,
  type Pod,
  PersistentVolumeClaimKind,
  PodKind,
  StorageProfileKind,
  VolumeCloneSourceKind,
} from '@slipway/api';
import { built, type Built, pv, pvc, storageClass, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { cdiControllers } from '../index.ts';

let world: TestWorld;
afterEach(() => world.close());

const DEFAULT = { metadata: { annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } } };
const local = storageClass('local', DEFAULT);
const http = { http: { url: 'http://images.example.com/disk.qcow2' } };

const dataVolume = (spec: object, annotations: Record<string, string> = {}): Built<DataVolume> =>
  built(DataVolumeKind, 'a/disk', { metadata: { name: 'disk', namespace: 'a', uid: 'dv-uid', annotations }, spec });
const storage = (source: object, size = '1Gi') => dataVolume({ source, storage: { resources: { requests: { storage: size } } } });

async function worldWith(...objects: readonly Built[]): Promise<void> {
  world = await testWorld({ controllers: cdiControllers }).with(...objects);
  await world.settle();
}

const status = async () => (await world.get(DataVolumeKind, 'a/disk')).status;
const claim = () => world.get(PersistentVolumeClaimKind, 'a/disk');
const condition = async (type: string) => (await status())?.conditions?.find((item) => item.type === type);

async function bind(): Promise<void> {
  const found = await claim();
  const next = { ...found, spec: { ...found.spec, volumeName: 'pv1' }, status: { phase: 'Bound' } };
  await world.client.update(PersistentVolumeClaimKind, next);
  await world.client.update(
    PersistentVolumeClaimKind,
    { ...next, metadata: (await claim()).metadata },
    { subresource: 'status' },
  );
  await world.settle();
}

async function podStatus(next: object, annotations?: Record<string, string>): Promise<void> {
  const pod = await world.get(PodKind, 'a/importer-disk');
  if (annotations)
    await world.client.patch(
      PodKind,
      { namespace: 'a', name: 'importer-disk' },
      { metadata: { annotations } },
      { type: 'merge' },
    );
  const fresh: Pod = await world.get(PodKind, 'a/importer-disk');
  await world.client.update(PodKind, { ...fresh, status: { ...pod.status, ...next } }, { subresource: 'status' });
  await world.settle();
}

describe('an HTTP import', () => {
  it('waits for the first consumer, imports, reports and cleans up', async () => {
    await worldWith(local, storage(http));
    expect(await status()).toMatchObject({ phase: 'WaitForFirstConsumer', progress: 'N/A', claimName: 'disk' });
    expect((await claim()).spec).toMatchObject({
      accessModes: ['ReadWriteOnce'],
      volumeMode: 'Filesystem',
      storageClassName: 'local',
      resources: { requests: { storage: '1Gi' } },
    });
    expect(await world.exists(PodKind, 'a/importer-disk')).toBe(false);

    await bind();
    expect(await status()).toMatchObject({ phase: 'ImportScheduled' });
    expect(await condition('Bound')).toMatchObject({ status: 'True', reason: 'Bound' });

    const running = { name: 'importer', ready: true, restartCount: 0, state: { running: {} } };
    await podStatus(
      { phase: 'Running', containerStatuses: [running] },
      {
        'slipway.dev/progress': '{"phase":"Download","bytes":1048576,"totalBytes":8493465,"percent":12.345,"etaSeconds":5}',
      },
    );
    expect(await status()).toMatchObject({ phase: 'ImportInProgress', progress: '12.35%' });
    const message = 'Received 1 MiB of 8.1 MiB, 5 s left';
    expect(await condition('Running')).toMatchObject({ status: 'True', reason: 'Pod is running', message });

    const ended = { name: 'importer', ready: false, restartCount: 0, state: { terminated: { exitCode: 0, message: '{}' } } };
    await podStatus({ phase: 'Succeeded', containerStatuses: [ended] });
    expect(await status()).toMatchObject({ phase: 'Succeeded', progress: '100.0%' });
    expect(await condition('Ready')).toMatchObject({ status: 'True' });
    expect(await condition('Running')).toMatchObject({ status: 'False', reason: 'Completed' });
    expect(await world.exists(PodKind, 'a/importer-disk')).toBe(false);
    expect(await world.events(storage(http))).toEqual(
      expect.arrayContaining([
        'Normal ImportScheduled Import into disk scheduled',
        'Normal ImportSucceeded Successfully imported into PVC disk',
      ]),
    );
  });

  const vmware = { url: 'https://v', uuid: 'u', backingFile: 'f', thumbprint: 't', secretRef: 's' };
  it.each([
    ['imageio', { url: 'https://engine', diskId: 'd', secretRef: 's', insecureSkipVerify: true }, { diskId: 'd' }],
    ['vddk', vmware, { uuid: 'u', backingFile: 'f', 'vddk.thumbprint': 't' }],
    ['registry', { imageStream: 'rhel9', pullMethod: 'node' }, { registryImageStream: 'rhel9', registryImportMethod: 'node' }],
  ])('from %s is an import too, which never counts as done before its worker says so', async (source, fields, annotations) => {
    await worldWith(local, storage({ [source]: fields }));
    await bind();
    expect(await status()).toMatchObject({ phase: 'ImportScheduled' });
    expect(await world.exists(PodKind, 'a/importer-disk')).toBe(true);
    for (const [key, value] of Object.entries({ source, ...annotations }))
      expect((await claim()).metadata.annotations).toHaveProperty([`cdi.kubevirt.io/storage.import.${key}`], value);
  });

  it('takes over what an image says of its disk, unless its author said something', async () => {
    await worldWith(local, storage({ registry: { url: 'docker://quay.io/containerdisks/fedora:1' } }));
    await bind();
    const labels = { 'instancetype.kubevirt.io/default-preference': 'fedora', 'evil.example.com/x': 'y' };
    const ended = { name: 'importer', state: { terminated: { exitCode: 0, message: JSON.stringify({ labels }) } } };
    await podStatus({ phase: 'Succeeded', containerStatuses: [ended] });
    expect((await claim()).metadata.labels).toMatchObject({ 'instancetype.kubevirt.io/default-preference': 'fedora' });
    expect((await claim()).metadata.labels).not.toHaveProperty(['evil.example.com/x']);
  });

  it('shows why an attempt failed and goes on', async () => {
    await worldWith(local, storage(http));
    await bind();
    const message = 'Unable to connect to http data source: expected status code 200, got 404. Check the URL';
    const failed = {
      name: 'importer',
      restartCount: 2,
      state: { waiting: { reason: 'CrashLoopBackOff' } },
      lastState: { terminated: { exitCode: 1, reason: 'Error', message } },
    };
    await podStatus({ phase: 'Running', containerStatuses: [failed] });
    expect(await status()).toMatchObject({ restartCount: 2 });
    expect(await condition('Running')).toMatchObject({ status: 'False', reason: 'Error', message });
    expect(await world.events(storage(http))).toContain(`Warning ImportFailed ${message}`);
  });

  it('fails for good on a wrong checksum', async () => {
    await worldWith(local, storage(http));
    await bind();
    const ended = { name: 'importer', state: { terminated: { exitCode: 0, message: 'checksum mismatch: expected …' } } };
    await podStatus({ phase: 'Succeeded', containerStatuses: [ended] });
    expect(await status()).toMatchObject({ phase: 'Failed' });
    expect(await condition('Running')).toMatchObject({ reason: 'ChecksumError' });
    expect(await world.events(storage(http))).toContain('Warning ImportFailed checksum mismatch: expected …');
  });

  it('says when the disk is too small', async () => {
    await worldWith(local, storage(http));
    await bind();
    const terminated = {
      exitCode: 1,
      reason: 'Error',
      message: 'virtual image size 9 is larger than the reported available storage 8. A larger PVC is required',
    };
    await podStatus({
      phase: 'Running',
      containerStatuses: [{ name: 'importer', state: { waiting: {} }, lastState: { terminated } }],
    });
    expect(await condition('Running')).toMatchObject({ message: 'DataVolume too small to contain image' });
  });

  it('starts at once when immediate binding is requested', async () => {
    await worldWith(
      local,
      dataVolume(
        { source: http, storage: { resources: { requests: { storage: '1Gi' } } } },
        { 'cdi.kubevirt.io/storage.bind.immediate.requested': '' },
      ),
    );
    expect((await world.get(PodKind, 'a/importer-disk')).spec?.volumes?.[0]?.persistentVolumeClaim?.claimName).toBe('disk');
  });

  it('waits for a storage class and goes on when there is one', async () => {
    await worldWith(storage(http));
    expect(await status()).toMatchObject({ phase: '' });
    expect(await condition('Bound')).toMatchObject({ reason: 'ErrClaimNotValid' });
    await world.with(local);
    await world.settle();
    expect(await status()).toMatchObject({ phase: 'WaitForFirstConsumer' });
  });

  it('makes room for the file system on classes of others', async () => {
    await worldWith(storageClass('ceph', { provisioner: 'cephfs.csi.ceph.com', ...DEFAULT }), storage(http, '512Mi'));
    expect((await claim()).spec).toMatchObject({
      accessModes: ['ReadWriteMany'],
      resources: { requests: { storage: '569083167' } },
    });
  });
});

describe('a clone', () => {
  const source = [
    pv('golden', { spec: { claimRef: { namespace: 'images', name: 'rhel9' } } }),
    pvc('images/rhel9', { spec: { volumeName: 'golden' }, status: { phase: 'Bound', capacity: { storage: '2Gi' } } }),
    built(DataSourceKind, 'images/rhel9', { spec: { source: { pvc: { namespace: 'images', name: 'rhel9' } } } }),
  ];
  const fromDataSource = { sourceRef: { kind: 'DataSource', namespace: 'images', name: 'rhel9' }, storage: {} };
  const requester = { 'slipway.dev/requester': JSON.stringify({ username: 'joe', groups: [] }) };

  it('waits for a DataSource that is missing', async () => {
    await worldWith(local, dataVolume(fromDataSource));
    expect(await status()).toMatchObject({ phase: 'Pending' });
    expect(await condition('Bound')).toMatchObject({
      reason: 'CloneWithoutSource',
      message: expect.stringContaining("images/rhel9 doesn't exist"),
    });
  });

  it('is refused to whoever may not read the source', async () => {
    await worldWith(local, ...source, dataVolume(fromDataSource));
    expect(await condition('Bound')).toMatchObject({ reason: 'ErrUnableToClone' });
    expect(await world.exists(PersistentVolumeClaimKind, 'a/disk')).toBe(false);
  });

  it('goes to the node of its source, with a grant for the provisioner', async () => {
    world = testWorld({ controllers: cdiControllers });
    const raw = world.client.raw.bind(world.client);
    Object.assign(world.client, {
      raw: (request: Parameters<typeof raw>[0]) =>
        request.path.endsWith('subjectaccessreviews')
          ? Promise.resolve({ status: 201, headers: {}, body: { status: { allowed: true } } })
          : raw(request),
    });
    await world.with(local, ...source, dataVolume(fromDataSource, requester));
    await world.settle();
    const made = await claim();
    expect(made.metadata.annotations).toMatchObject({
      'k8s.io/CloneRequest': 'images/rhel9',
      'volume.kubernetes.io/selected-node': 'node1',
    });
    expect(made.metadata.annotations).not.toHaveProperty('slipway.dev/requester');
    expect(made.spec?.resources?.requests).toEqual({ storage: '2Gi' });
    expect(await world.list(VolumeCloneSourceKind, 'images')).toHaveLength(1);
    await bind();
    expect(await status()).toMatchObject({ phase: 'Succeeded', progress: '100.0%' });
    expect(await world.list(VolumeCloneSourceKind, 'images')).toHaveLength(0);
  });

  it('finds its DataSource ready', async () => {
    await worldWith(local, ...source);
    expect((await world.get(DataSourceKind, 'images/rhel9')).status).toMatchObject({
      source: { pvc: { namespace: 'images', name: 'rhel9' } },
      conditions: [{ type: 'Ready', status: 'True', reason: 'Ready', message: 'DataSource is ready to be consumed' }],
    });
  });
});

describe('storage profiles', () => {
  it('decide the modes of a claim that names none', async () => {
    const spec = { claimPropertySets: [{ accessModes: ['ReadWriteMany'], volumeMode: 'Block' }] };
    const odd = storageClass('odd', { provisioner: 'example.com/odd', ...DEFAULT });
    await worldWith(odd, built(StorageProfileKind, 'odd', { spec }), storage(http));
    expect((await claim()).spec).toMatchObject({
      accessModes: ['ReadWriteMany'],
      volumeMode: 'Block',
      resources: { requests: { storage: '1Gi' } },
    });
  });
});
