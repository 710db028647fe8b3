// What the tasks of KubeVirt for Tekton ask of the API server, each with the rights of its own role, written down by hand. The
// controllers are the product's; the test plays the scheduler, the storage and the mover.
import {
  PersistentVolumeClaimKind,
  PodKind,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
} from '@slipway/api';
import type { TestWorld } from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  type Json,
  MERGE,
  NAMESPACE,
  type Requester,
  VMS,
  itemsOf,
  metadataOf,
  namesOf,
  requesterWith,
  vm,
} from '../src/requests.ts';
import { startTaskWorld, type TaskName, type TaskWorld } from '../src/task-world.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const INSTANCES = '/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances';
const POWER = '/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachines';
const VOLUMES = '/apis/cdi.kubevirt.io/v1beta1/namespaces/default/datavolumes';
const SOURCES = '/apis/cdi.kubevirt.io/v1beta1/namespaces/default/datasources';
const EXPORTS = '/apis/export.kubevirt.io/v1beta1/namespaces/default/virtualmachineexports';
const SECRETS = `${NAMESPACE}/secrets`;
const PODS = `${NAMESPACE}/pods`;

let world: TestWorld;
let admin: Requester;
let started: TaskWorld;

beforeEach(async () => {
  started = await startTaskWorld();
  ({ world, admin } = started);
});
afterEach(() => world.close());

/** What a task does; its role has to suffice. */
const as = (task: TaskName): Requester => requesterWith(started.clientOf(task));

/** Asks as tasks do until the answer is what they wait for; between two questions the controllers do what there is to do. */
async function poll(task: TaskName, path: string, isDone: (answer: Json) => boolean): Promise<Json> {
  for (let last: Json = {}, tries = 0; ; tries++) {
    last = await as(task).send('GET', path, [200, 404]);
    if (isDone(last)) return last;
    expect(tries, `${path}: ${JSON.stringify(last['status'])}`).toBeLessThan(50);
    await world.advance(1000);
  }
}
const statusOf = (object: Json): Json => (object['status'] as Json | undefined) ?? {};
const isGone = ({ kind, code }: Json): boolean => kind === 'Status' && code === 404;
const nameOf = (object: Json): string => String(metadataOf(object)['name']);
const conditionOf = (object: Json, wanted: string): unknown =>
  (statusOf(object)['conditions'] as { type: string; status: string }[] | undefined)?.find(({ type }) => type === wanted)?.status;

/** The pod of a task run, which owns what the task makes where that is wanted. */
async function taskPod(name: string, volumes: readonly object[] = []): Promise<{ readonly owner: Json }> {
  const spec = { containers: [{ name: 'step', image: 'task' }], volumes, restartPolicy: 'Never' };
  const body = { apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { 'tekton.dev/taskRun': name } }, spec };
  const made = await admin.send('POST', PODS, 201, { body });
  return { owner: { apiVersion: 'v1', kind: 'Pod', name, uid: metadataOf(made)['uid'] } };
}

/** The part of the scheduler. */
async function bind(name: string): Promise<void> {
  const target = { apiVersion: 'v1', kind: 'Node', name: 'node1' };
  const body = { apiVersion: 'v1', kind: 'Binding', metadata: { name }, target };
  await admin.send('POST', `${PODS}/${name}/binding`, 201, { body });
  await world.settle();
}

/** The storage gives a volume, and the mover brings the image. */
async function importImage(name: string): Promise<void> {
  const claim = await world.get(PersistentVolumeClaimKind, `default/${name}`);
  const path = `${NAMESPACE}/persistentvolumeclaims/${name}`;
  await admin.send('PATCH', path, 200, { body: { spec: { volumeName: `pv-${claim.metadata.uid}` } }, headers: MERGE });
  await admin.send('PATCH', `${path}/status`, 200, { body: { status: { phase: 'Bound' } }, headers: MERGE });
  await world.settle();
  const ended = { name: 'importer', ready: false, restartCount: 0, state: { terminated: { exitCode: 0, message: '{}' } } };
  const body = { status: { phase: 'Succeeded', containerStatuses: [ended] } };
  await admin.send('PATCH', `${PODS}/importer-${name}/status`, 200, { body, headers: MERGE });
  await world.settle();
}

const dataVolume = (name: string, more: Json = {}): Json => ({
  apiVersion: 'cdi.kubevirt.io/v1beta1',
  kind: 'DataVolume',
  metadata: { name, annotations: { 'cdi.kubevirt.io/storage.bind.immediate.requested': 'true' }, ...more },
  spec: {
    source: { http: { url: 'http://images.example.com/disk.qcow2' } },
    storage: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
  },
});

describe('modify-data-object', () => {
  const task = 'modify-data-object';

  it('creates a DataVolume, waits for it, and replaces it', async () => {
    const { send } = as(task);
    const made = await send('POST', VOLUMES, 201, { body: dataVolume('image') });
    await world.settle();
    expect(statusOf(await send('GET', `${VOLUMES}/image`, 200))['phase']).not.toBe('Succeeded');
    await importImage('image');
    const ready = await poll(task, `${VOLUMES}/image`, (answer) => statusOf(answer)['phase'] === 'Succeeded');
    expect(conditionOf(ready, 'Ready')).toBe('True');
    // allowReplace
    const refused = await send('POST', VOLUMES, 409, { body: dataVolume('image') });
    expect(refused).toMatchObject({ kind: 'Status', reason: 'AlreadyExists' });
    await send('DELETE', `${VOLUMES}/image`, 200);
    await poll(task, `${VOLUMES}/image`, isGone);
    // the claim goes with its DataVolume
    await world.settle();
    expect(await world.exists(PersistentVolumeClaimKind, 'default/image')).toBe(false);
    const again = await send('POST', VOLUMES, 201, { body: dataVolume('image') });
    expect(metadataOf(again)['uid']).not.toBe(metadataOf(made)['uid']);
  });

  it('creates a DataSource, and deletes it', async () => {
    const { send } = as(task);
    const source = {
      ...{ apiVersion: 'cdi.kubevirt.io/v1beta1', kind: 'DataSource', metadata: { name: 'golden' } },
      spec: { source: { pvc: { name: 'golden', namespace: 'default' } } },
    };
    await send('POST', SOURCES, 201, { body: source });
    await world.settle();
    expect(conditionOf(await send('GET', `${SOURCES}/golden`, 200), 'Ready')).toBe('False');
    await send('POST', VOLUMES, 201, { body: dataVolume('golden') });
    await world.settle();
    await importImage('golden');
    await poll(task, `${SOURCES}/golden`, (answer) => conditionOf(answer, 'Ready') === 'True');
    await send('DELETE', `${SOURCES}/golden`, 200);
    await poll(task, `${SOURCES}/golden`, isGone);
    await send('DELETE', `${SOURCES}/golden`, 404);
  });

  it('makes up a name, is refused what is wrong, and may do nothing else', async () => {
    const { send } = as(task);
    const named = await send('POST', VOLUMES, 201, {
      body: { ...dataVolume(''), metadata: { generateName: 'image-' } },
    });
    expect(nameOf(named)).toMatch(/^image-[a-z0-9]{5}$/);
    const wrong = { ...dataVolume('wrong'), spec: { source: {}, storage: {} } };
    await send('POST', VOLUMES, 422, { body: wrong });
    expect(await send('POST', VMS, 403, { body: vm('forbidden') })).toMatchObject({ reason: 'Forbidden' });
    await send('GET', SECRETS, 403);
  });
});

describe('create-vm-from-manifest', () => {
  const task = 'create-vm-from-manifest';

  it('creates a machine that its task owns, and starts it', async () => {
    const { send } = as(task);
    const { owner } = await taskPod('create');
    const wanted = vm('made', { ownerReferences: [owner] });
    const made = await send('POST', VMS, 201, { body: wanted });
    expect([nameOf(made), metadataOf(made)['namespace']]).toEqual(['made', 'default']);
    await world.settle();
    await send('PUT', `${POWER}/made/start`, 202, { body: {} });
    await poll(task, `${VMS}/made`, (answer) => statusOf(answer)['ready'] === true);
    // with its task the machine goes, and with the machine its guest
    await admin.send('DELETE', `${PODS}/create`, 200, { body: { gracePeriodSeconds: 0 } });
    await poll(task, `${VMS}/made`, isGone);
    await poll(task, `${INSTANCES}/made`, isGone);
  });

  it('gives the machine another run strategy, and is told what is wrong with it', async () => {
    const { send } = as(task);
    const wanted = vm('always');
    const spec = { ...(wanted['spec'] as Json), runStrategy: 'Always' };
    await send('POST', VMS, 201, { body: { ...wanted, spec } });
    await poll(task, `${VMS}/always`, (answer) => statusOf(answer)['printableStatus'] === 'Running');
    await send('POST', VMS, 409, { body: wanted });
    const refused = await send('POST', VMS, 422, { body: { ...vm('both'), spec: { ...spec, running: true } } });
    expect(refused).toMatchObject({ kind: 'Status', reason: 'Invalid' });
    expect(await send('DELETE', `${VMS}/always`, 403)).toMatchObject({ reason: 'Forbidden' });
  });
});

describe('wait-for-vmi-status', () => {
  const task = 'wait-for-vmi-status';

  it('watches one instance until it is as it should be, or has failed', async () => {
    const fieldSelector = 'metadata.name=waited';
    const list = await as(task).send('GET', INSTANCES, 200, { query: { fieldSelector } });
    expect(namesOf(list)).toEqual([]);
    const wanted = vm('waited');
    await admin.send('POST', VMS, 201, { body: { ...wanted, spec: { ...(wanted['spec'] as Json), runStrategy: 'Always' } } });
    await admin.send('POST', VMS, 201, {
      body: { ...vm('other'), spec: { ...(wanted['spec'] as Json), runStrategy: 'Always' } },
    });
    const resourceVersion = String(metadataOf(list)['resourceVersion']);
    const signal = AbortSignal.timeout(60_000);
    const seen = new Set<string>();
    // the watch goes back to the list
    await world.settle();
    const events = started
      .clientOf(task)
      .watch(VirtualMachineInstanceKind, { namespace: 'default', fieldSelector, resourceVersion, signal });
    for await (const { object } of events) {
      const { metadata, status } = object as VirtualMachineInstance; // an error would have no name
      seen.add(metadata.name ?? '');
      if (status?.phase === 'Running') break;
    }
    expect([...seen]).toEqual(['waited']);
    await as(task).send('GET', `${VMS}/waited`, 403);
  });
});

describe('execute-in-vm and cleanup-vm', () => {
  const task = 'execute-in-vm';

  it('start the machine, find where its guest is, stop and delete it', async () => {
    const { send } = as(task);
    await admin.send('POST', VMS, 201, { body: vm('worker') });
    await world.settle();
    await send('GET', `${INSTANCES}/worker`, 404);
    await send('PUT', `${POWER}/worker/start`, 202, { body: {} });
    await poll(task, `${INSTANCES}/worker`, (answer) => statusOf(answer)['phase'] === 'Running');
    // the part of the node agent
    const interfaces = [{ name: 'default', ipAddress: '10.0.0.9' }];
    const instance = await world.get(VirtualMachineInstanceKind, 'default/worker');
    await world.client.update(VirtualMachineInstanceKind, { ...instance, status: { ...instance.status, interfaces } });
    const found = await poll(task, `${INSTANCES}/worker`, (answer) => statusOf(answer)['interfaces'] !== undefined);
    expect(statusOf(found)['interfaces']).toEqual([expect.objectContaining({ ipAddress: '10.0.0.9' })]);
    // it runs: another start is a conflict, which the task takes for success
    const again = await send('PUT', `${POWER}/worker/start`, 409, { body: {} });
    expect(again['message']).toContain('VM is already running');
    await send('PUT', `${POWER}/worker/stop`, 202, { body: { gracePeriod: 0 } });
    await poll(task, `${INSTANCES}/worker`, isGone);
    await send('DELETE', `${VMS}/worker`, 200);
    await poll(task, `${VMS}/worker`, isGone);
    await send('DELETE', `${VMS}/worker`, 404);
    await send('PUT', `${POWER}/worker/stop`, 404, { body: {} });
  });
});

describe('generate-ssh-keys', () => {
  const task = 'generate-ssh-keys';
  const encoded = (text: string): string => Buffer.from(text).toString('base64');

  it('makes a Secret of each key, and adds a key to one that is there', async () => {
    const { send } = as(task);
    const secret = (metadata: Json, data: Json): Json => ({ apiVersion: 'v1', kind: 'Secret', type: 'Opaque', metadata, data });
    const own = await send('POST', SECRETS, 201, {
      body: secret({ generateName: 'private-key-' }, { type: encoded('ssh'), 'ssh-privatekey': encoded('private') }),
    });
    expect(nameOf(own)).toMatch(/^private-key-[a-z0-9]{5}$/);
    await send('GET', `${SECRETS}/public`, 404);
    const first = await send('POST', SECRETS, 201, { body: secret({ name: 'public' }, { 'id-one': encoded('ssh-rsa one') }) });
    const resourceVersion = metadataOf(first)['resourceVersion'];
    const added = { metadata: { resourceVersion }, data: { 'id-two': encoded('ssh-rsa two') } };
    await send('PATCH', `${SECRETS}/public`, 200, { body: added, headers: MERGE });
    expect((await send('GET', `${SECRETS}/public`, 200))['data']).toEqual({
      'id-one': encoded('ssh-rsa one'),
      'id-two': encoded('ssh-rsa two'),
    });
    // somebody was quicker
    const stale = { metadata: { resourceVersion }, data: { 'id-three': '' } };
    expect(await send('PATCH', `${SECRETS}/public`, 409, { body: stale, headers: MERGE })).toMatchObject({ reason: 'Conflict' });
    await send('DELETE', `${SECRETS}/public`, 403);
  });
});

describe('disk-virt-customize, disk-virt-sysprep and modify-windows-iso-file', () => {
  it('keep the disk that their pod works on, whatever else happens to it', async () => {
    await admin.send('POST', VOLUMES, 201, { body: dataVolume('root') });
    await world.settle();
    await importImage('root');
    await taskPod('customize', [{ name: 'target', persistentVolumeClaim: { claimName: 'root' } }]);
    await bind('customize');
    expect((await world.get(PodKind, 'default/customize')).spec?.volumes).toContainEqual(
      expect.objectContaining({ persistentVolumeClaim: { claimName: 'root' } }),
    );
    await admin.send('DELETE', `${VOLUMES}/root`, 200);
    await world.settle();
    const held = await world.get(PersistentVolumeClaimKind, 'default/root');
    expect(held.metadata.deletionTimestamp).toBeDefined();
    expect(held.metadata.finalizers).toContain('kubernetes.io/pvc-protection');
    const body = { status: { phase: 'Succeeded' } };
    await admin.send('PATCH', `${PODS}/customize/status`, 200, { body, headers: MERGE });
    await world.settle();
    expect(await world.exists(PersistentVolumeClaimKind, 'default/root')).toBe(false);
  });
});

describe('disk-uploader', () => {
  const task = 'disk-uploader';

  it('exports the disk of a machine with a token of its own', async () => {
    const { send } = as(task);
    await admin.send('POST', VOLUMES, 201, { body: dataVolume('root') });
    await world.settle();
    await importImage('root');
    const machine = vm('source');
    const template = {
      spec: {
        domain: { devices: { disks: [{ name: 'root', disk: {} }] }, memory: { guest: '1Gi' } },
        volumes: [{ name: 'root', dataVolume: { name: 'root' } }],
      },
    };
    await admin.send('POST', VMS, 201, { body: { ...machine, spec: { runStrategy: 'Halted', template } } });
    await world.settle();
    const found = await send('GET', `${VMS}/source`, 200);
    const owner = { apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', name: 'source', uid: metadataOf(found)['uid'] };
    const body = {
      ...{ apiVersion: 'export.kubevirt.io/v1beta1', kind: 'VirtualMachineExport' },
      metadata: { name: 'source', ownerReferences: [owner] },
      spec: { tokenSecretRef: 'source', source: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'source' } },
    };
    await send('POST', EXPORTS, 201, { body });
    const token = { metadata: { name: 'source', ownerReferences: [owner] }, stringData: { token: 'a-token-of-the-task' } };
    await send('POST', SECRETS, 201, { body: { apiVersion: 'v1', kind: 'Secret', ...token } });
    await world.settle();
    // the node runs the exporter
    const [exporter] = itemsOf(await admin.send('GET', PODS, 200)).filter((pod) => nameOf(pod) === 'virt-export-source');
    expect(exporter).toBeDefined();
    await bind('virt-export-source');
    const status = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
    await admin.send('PATCH', `${PODS}/virt-export-source/status`, 200, { body: { status }, headers: MERGE });
    const ready = await poll(task, `${EXPORTS}/source`, (answer) => statusOf(answer)['phase'] === 'Ready');
    expect(statusOf(ready)).toMatchObject({
      tokenSecretRef: 'source',
      links: {
        internal: {
          volumes: [{ name: 'root', formats: expect.arrayContaining([expect.objectContaining({ format: 'gzip' })]) }],
        },
      },
    });
    // the export goes with its machine
    await admin.client.delete(VirtualMachineKind, { namespace: 'default', name: 'source' });
    await poll(task, `${EXPORTS}/source`, isGone);
  });
});
