// What the original virtctl of KubeVirt 1.1 sends, answered by our API server: paths of versions that 1.9 no longer has,
// bodies with the zero values of Go, upgrades of connections. Only the node is played.
import { PassThrough } from 'node:stream';
import {
  PersistentVolumeClaimKind,
  SecretKind,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineInstanceReplicaSetKind,
  VirtualMachineKind,
} from '@slipway/api';
import type { Client } from '@slipway/client';
import { virtualMachineSubresources } from '@slipway/controllers';
import { fakeNodeConnector } from '@slipway/testkit';
import { clusterConfig } from '@slipway/virt';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Cluster, createRunningPod, POD, startCluster } from '../src/cluster.ts';
import { type Ask, type RawRequest, rawClient } from './raw-request.ts';

const VERSION = {
  gitVersion: 'v1.9.0',
  gitCommit: '0',
  gitTreeState: 'clean',
  buildDate: '',
  goVersion: '',
  compiler: '',
  platform: '',
};
const nodes = fakeNodeConnector();
const late: { client?: Client } = {};
let cluster: Cluster;
let ask: Ask;

beforeAll(async () => {
  const subresources = virtualMachineSubresources({
    get client() {
      if (late.client === undefined) throw new Error('Not started');
      return late.client;
    },
    nodes,
    version: VERSION,
    config: () => clusterConfig({}),
    expandVm: async (vm) => vm,
  });
  cluster = await startCluster({ aggregatedApis: [subresources] });
  late.client = cluster.server.client({ username: 'virt-api', groups: ['system:masters'] });
  ask = rawClient(cluster);
  await cluster.admin.create(SecretKind, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'pw', namespace: 'default' },
    data: { other: 'eA==' },
  });
  await cluster.admin.create(PersistentVolumeClaimKind, {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'disk', namespace: 'default' },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } }, volumeMode: 'Filesystem' },
  });
  for (const verb of ['pause', 'unpause', 'softreboot', 'reset']) nodes.onCall(verb, () => ({}));
  nodes.onCall('guestosinfo', () => ({ guestAgentVersion: '8.2.0', hostname: 'box' }));
  nodes.onCall('userlist', () => ({ metadata: {}, items: [{ userName: 'jane', loginTime: 1 }] }));
  nodes.onCall('filesystemlist', () => ({ metadata: {}, items: [{ diskName: 'vda1', mountPoint: '/' }] }));
  for (const verb of ['console', 'vnc', 'usbredir', 'portforward']) nodes.onOpen(verb, () => new PassThrough());
}, 60_000);
afterAll(async () => {
  await cluster.close();
  expect(cluster.failures).toEqual([]);
});

const KEY = { namespace: 'default', name: 'box' };
const TEMPLATE = {
  domain: { devices: { interfaces: [{ name: 'default', masquerade: {} }] }, memory: { guest: '64Mi' } },
  networks: [{ name: 'default', pod: {} }],
};
const VM = '/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachines/box';
const VMI = '/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachineinstances/box';
const EXPORTS = '/apis/export.kubevirt.io/v1alpha1/namespaces/default/virtualmachineexports';

async function createVm(runStrategy: string): Promise<void> {
  const vm: VirtualMachine = {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { ...KEY },
    spec: { runStrategy, template: { metadata: { labels: { app: 'box' } }, spec: TEMPLATE } },
    status: { created: true, ready: true },
  };
  await cluster.admin.create(VirtualMachineKind, vm);
  await cluster.admin.patch(VirtualMachineKind, KEY, { status: { created: true } }, { type: 'merge', subresource: 'status' });
}

async function createGuest(conditions: { type: string; status: string }[] = []): Promise<void> {
  const { devices } = TEMPLATE.domain;
  const guest: VirtualMachineInstance = {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: { ...KEY },
    spec: { ...TEMPLATE, domain: { ...TEMPLATE.domain, devices: { ...devices, clientPassthrough: {} } } },
    status: {
      phase: 'Running',
      nodeName: 'node1',
      interfaces: [{ name: 'default', ipAddress: '10.0.0.9' }],
      conditions: [{ type: 'AgentConnected', status: 'True' }, ...conditions],
    },
  };
  await cluster.admin.create(VirtualMachineInstanceKind, guest);
}

afterEach(async () => {
  await cluster.admin.deleteCollection(VirtualMachineKind, { namespace: 'default' });
  await cluster.admin.deleteCollection(VirtualMachineInstanceKind, { namespace: 'default' });
});

const deleteOptions = (apiVersion: string) => ({ kind: 'DeleteOptions', apiVersion });
const get = (path: string, query?: Record<string, string>): RawRequest => ({ method: 'GET', path, ...(query && { query }) });
const put = (path: string, body?: unknown): RawRequest => ({ method: 'PUT', path, ...(body !== undefined && { body }) });

/** Answers one after the other: codes, and the objects of those that have one. */
async function codes(...requests: RawRequest[]): Promise<number[]> {
  const seen: number[] = [];
  for (const request of requests) seen.push((await ask(request)).code);
  return seen;
}

describe('the original client', () => {
  it('changes the power of a machine', async () => {
    await createVm('Halted');
    expect(await codes(put(`${VM}/start`, { dryRun: ['All'] }), put(`${VM}/start`))).toEqual([202, 202]);
    expect((await cluster.admin.get(VirtualMachineKind, KEY)).spec.runStrategy).toBe('Always');
    await createGuest();
    expect(await codes(put(`${VM}/stop`, { dryRun: ['All'] }), put(`${VM}/restart`), put(`${VM}/start`))).toEqual([
      202, 202, 409,
    ]);
    expect(await codes(put(`${VM}/stop`, { gracePeriod: 0 }))).toEqual([202]);
    expect(await codes(put(`${VMI}/pause`), put(`${VMI}/softreboot`), put(`${VMI}/reset`))).toEqual([200, 200, 200]);
    expect(await codes(put(VM.replace('box', 'nobody') + '/start'))).toEqual([404]);
  });

  it('unpauses with and without a body', async () => {
    await createGuest([{ type: 'Paused', status: 'True' }]);
    expect(await codes(put(`${VMI}/unpause`), put(`${VMI}/unpause`, {}), put(`${VMI}/pause`))).toEqual([200, 200, 409]);
  });

  it('reads objects, what the guest says, and versions', async () => {
    await createVm('Manual');
    await createGuest();
    const objects = '/apis/kubevirt.io/v1/namespaces/default';
    expect((await ask(get(`${objects}/virtualmachines/box`))).body).toMatchObject({ kind: 'VirtualMachine', metadata: KEY });
    expect((await ask(get(`${objects}/virtualmachineinstances/box`))).body).toMatchObject({ status: { phase: 'Running' } });
    expect((await ask(get(`${VM}/expand-spec`))).body).toMatchObject({ kind: 'VirtualMachine', spec: { runStrategy: 'Manual' } });
    expect((await ask(get(`${VMI}/guestosinfo`))).body).toEqual({ guestAgentVersion: '8.2.0', hostname: 'box' });
    expect((await ask(get(`${VMI}/userlist`))).body).toMatchObject({ items: [{ userName: 'jane' }] });
    expect((await ask(get(`${VMI}/filesystemlist`))).body).toMatchObject({ items: [{ mountPoint: '/' }] });
    expect((await ask(get('/apis/subresources.kubevirt.io/v1/version'))).body).toEqual(VERSION);
    expect((await ask(get('/apis/subresources.kubevirt.io'))).body).toMatchObject({ kind: 'APIGroup' });
    expect((await ask(get('/apis/subresources.kubevirt.io/v1/guestfs'))).body).toHaveProperty('gsImage');
    expect((await ask(get('/version', { timeout: '32s' }))).body).toHaveProperty('gitVersion');
    const migrations = `${objects}/virtualmachineinstancemigrations`;
    expect((await ask(get(migrations, { labelSelector: 'kubevirt.io/vmi-name==box' }))).body).toMatchObject({ items: [] });
    expect((await ask(get('/apis/kubevirt.io/v1/kubevirts'))).body).toMatchObject({ kind: 'KubeVirtList' });
  });

  it('opens the streams of a guest', async () => {
    await createVm('Always');
    await createGuest();
    const stream = async (path: string, protocols = ['plain.kubevirt.io']): Promise<unknown[]> => {
      const { code, protocol } = await ask({ ...get(path), upgrade: { to: 'websocket', protocols } });
      return [code, protocol];
    };
    const chosen = [101, 'plain.kubevirt.io'];
    for (const path of ['console', 'vnc', 'usbredir', 'portforward/22/tcp', 'portforward/53/udp', 'portforward/22'])
      expect(await stream(`${VMI}/${path}`), path).toEqual(chosen);
    expect(await stream(`${VM}/portforward/22/tcp`)).toEqual(chosen);
    expect(await stream(`${VMI.replace('v1/', 'v1alpha3/')}/console`)).toEqual(chosen);
    expect((await stream(`${VMI.replace('box', 'nobody')}/console`))[0]).toBe(404);
    const { devices } = TEMPLATE.domain;
    await cluster.admin.patch(
      VirtualMachineInstanceKind,
      KEY,
      { spec: { domain: { devices: { ...devices, clientPassthrough: null } } } },
      { type: 'merge' },
    );
    expect((await stream(`${VMI}/usbredir`))[0]).toBe(409);
  });

  it('sets a password and makes services, with the zero values of Go', async () => {
    await createVm('Manual');
    const patch = [{ op: 'add', path: '/data/jane', value: 'c2VjcmV0' }];
    const path = '/api/v1/namespaces/default/secrets/pw';
    const contentType = 'application/json-patch+json';
    expect((await ask({ method: 'PATCH', path, body: patch, contentType })).body).toMatchObject({ data: { jane: 'c2VjcmV0' } });
    const service = (name: string, port: object, spec: object = {}) => ({
      method: 'POST',
      path: '/api/v1/namespaces/default/services',
      body: {
        kind: 'Service',
        apiVersion: 'v1',
        metadata: { name, namespace: 'default', creationTimestamp: null },
        spec: { ports: [port], selector: { app: 'box' }, type: 'ClusterIP', ...spec },
        status: { loadBalancer: {} },
      },
    });
    const plain = await ask(service('plain', { protocol: 'TCP', port: 80, targetPort: '' }));
    expect(plain).toMatchObject({ code: 201, body: { spec: { ports: [{ port: 80, targetPort: 80 }] } } });
    const zero = await ask(service('zero', { protocol: 'UDP', port: 53, targetPort: 0 }, { type: 'NodePort' }));
    expect(zero).toMatchObject({ code: 201, body: { spec: { ports: [{ port: 53, targetPort: 53 }] } } });
    const balanced = { type: 'LoadBalancer', externalIPs: ['192.0.2.7'], loadBalancerIP: '192.0.2.8' };
    expect((await ask(service('balanced', { name: 'dns', protocol: 'UDP', port: 53, targetPort: 5353 }, balanced))).code).toBe(
      201,
    );
    expect((await ask(service('headless', { protocol: 'TCP', port: 22, targetPort: '' }, { clusterIP: 'None' }))).code).toBe(201);
  });

  it('reads replica sets and asks for memory dumps', async () => {
    await createVm('Always');
    await createGuest();
    await cluster.admin.create(VirtualMachineInstanceReplicaSetKind, {
      apiVersion: 'kubevirt.io/v1',
      kind: 'VirtualMachineInstanceReplicaSet',
      metadata: { name: 'set', namespace: 'default' },
      spec: {
        replicas: 0,
        selector: { matchLabels: { app: 's' } },
        template: { metadata: { labels: { app: 's' } }, spec: TEMPLATE },
      },
    });
    const set = await ask(get('/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstancereplicasets/set'));
    expect(set).toMatchObject({ code: 200, body: { metadata: { name: 'set' } } });
    expect(await codes(put(`${VM}/memorydump`, { claimName: 'disk', phase: '' }), put(`${VM}/removememorydump`))).toEqual([
      202, 202,
    ]);
    expect((await ask(put(`${VM}/memorydump`, { claimName: 'nothing', phase: '' }))).code).toBeGreaterThanOrEqual(400);
  });

  it('plugs a claim into a machine', async () => {
    await createVm('Always');
    await createGuest();
    const claims = '/api/v1/namespaces/default/persistentvolumeclaims';
    const volumes = '/apis/cdi.kubevirt.io/v1beta1/namespaces/default/datavolumes';
    expect(await codes(get(`${volumes}/disk`), get(`${claims}/disk`))).toEqual([404, 200]);
    const disk = { name: '', disk: { bus: 'scsi' }, serial: 'disk' };
    const volumeSource = { persistentVolumeClaim: { claimName: 'disk', hotpluggable: true } };
    expect(await codes(put(`${VM}/addvolume`, { name: 'disk', disk, volumeSource, dryRun: ['All'] }))).toEqual([202]);
    expect(await codes(put(`${VM}/addvolume`, { name: 'disk', disk, volumeSource }))).toEqual([202]);
    expect((await cluster.admin.get(VirtualMachineKind, KEY)).spec.template.spec?.volumes).toHaveLength(1);
    expect(await codes(put(`${VM}/removevolume`, { name: 'disk' }))).toEqual([202]);
  });

  it('uses exports by their first version', async () => {
    const source = { apiGroup: '', kind: 'PersistentVolumeClaim', name: 'disk' };
    const metadata = { name: 'e1', namespace: 'default', creationTimestamp: null };
    const body = {
      kind: 'VirtualMachineExport',
      apiVersion: 'export.kubevirt.io/v1alpha1',
      metadata,
      spec: { source, tokenSecretRef: 'secret-e1', ttlDuration: '1h0m0s' },
    };
    expect(await codes(get(`${EXPORTS}/e1`))).toEqual([404]);
    const made = await ask({ method: 'POST', path: EXPORTS, body });
    expect(made).toMatchObject({ code: 201, body: { apiVersion: 'export.kubevirt.io/v1alpha1', spec: body.spec } });
    expect((await ask(get(`${EXPORTS}/e1`))).body).toMatchObject({ metadata: { name: 'e1' }, spec: body.spec });
    expect((await ask(get(`${EXPORTS.replace('v1alpha1', 'v1')}/e1`))).body).toMatchObject({
      apiVersion: 'export.kubevirt.io/v1',
    });
    const gone = { method: 'DELETE', path: `${EXPORTS}/e1`, body: deleteOptions('export.kubevirt.io/v1alpha1') };
    expect(await codes(gone, gone)).toEqual([200, 404]);
  });

  it('attaches to a pod over SPDY, and deletes it', async () => {
    await createRunningPod(cluster);
    const path = `/api/v1/namespaces/default/pods/${POD}`;
    const query = { container: 'compute', stdin: 'true', stdout: 'true', stderr: 'true', tty: 'true' };
    expect((await ask({ method: 'POST', path: `${path}/attach`, query, upgrade: { to: 'spdy' } })).code).toBe(101);
    const ports = await ask({ ...get(`${path}/attach`, query), upgrade: { to: 'websocket', protocols: ['v5.channel.k8s.io'] } });
    expect([ports.code, ports.protocol]).toEqual([101, 'v5.channel.k8s.io']);
    expect(await codes({ method: 'DELETE', path, body: deleteOptions('v1') })).toEqual([200]);
  });
});
