// Every route of the server, tried by every kind of user; who may do what is written down in expected-rights.ts.
import { bundledCustomResourceDefinitions } from '@slipway/api';
import { StatusError } from '@slipway/apimachinery';
import { type ApiServer, builtinResources, createApiServer } from '@slipway/apiserver';
import type { Client } from '@slipway/client';
import { virtualMachineSubresources } from '@slipway/controllers';
import { type UserInfo, createTunnelServer, silentLogger, systemClock } from '@slipway/runtime';
import { memoryStoreFs, openStore } from '@slipway/store';
import { fakeNodeConnector } from '@slipway/testkit';
import { clusterConfig } from '@slipway/virt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN } from '../src/cluster.ts';
import { PERSONAS, type Persona, isExpected } from './expected-rights.ts';
import { type ObjectNames, type Route, aggregatedRoutes, pathRoutes, resourceRoutes } from './route-table.ts';

const USERS: Readonly<Record<Persona, UserInfo>> = {
  anonymous: { username: 'system:anonymous', groups: ['system:unauthenticated'] },
  nobody: { username: 'nobody', groups: [] },
  view: { username: 'viewer', groups: [] },
  edit: { username: 'editor', groups: [] },
  admin: { username: 'administrator', groups: [] },
  'node-own': { username: 'system:node:own', groups: ['system:nodes'] },
  'node-other': { username: 'system:node:other', groups: ['system:nodes'] },
  'cluster-admin': { username: 'root', groups: [] },
};

/** All of these belong to the node `own`. */
const NAMES: ObjectNames = new Map([
  ['/nodes', 'own'],
  ['/pods', 'guest'],
  ['/secrets', 'used'],
  ['/configmaps', 'used'],
  ['/serviceaccounts', 'used'],
  ['/persistentvolumes', 'disk'],
  ['/events', 'happened'],
  ['coordination.k8s.io/leases', 'own'],
  ['kubevirt.io/virtualmachineinstances', 'guest'],
  ['node.slipway.dev/nodes', 'own'],
  ['/namespaces', 'team'],
  ['certificates.k8s.io/certificatesigningrequests', 'asked'],
  ['snapshot.storage.k8s.io/volumesnapshotcontents', 'kept'],
]);

let server: ApiServer;
let routes: Route[] = [];
const failures: string[] = [];

async function make(client: Client, path: string, body: object): Promise<void> {
  const { status, body: answer } = await client.raw({ method: 'POST', path, body });
  if (status !== 201 && status !== 409) throw new Error(`${path}: ${JSON.stringify(answer)}`);
}

async function makeObjects(client: Client): Promise<void> {
  for (const name of ['team', 'foreign']) {
    const core = `/api/v1/namespaces/${name}`;
    const metadata = (own: string) => ({ name: own, namespace: name });
    await make(client, '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
    await make(client, `${core}/serviceaccounts`, { apiVersion: 'v1', kind: 'ServiceAccount', metadata: metadata('used') });
    await make(client, `${core}/secrets`, { apiVersion: 'v1', kind: 'Secret', metadata: metadata('used') });
    await make(client, `${core}/configmaps`, { apiVersion: 'v1', kind: 'ConfigMap', metadata: metadata('used') });
    const volumes = [
      { name: 'a', secret: { secretName: 'used' } },
      { name: 'b', configMap: { name: 'used' } },
    ];
    const spec = { nodeName: 'own', serviceAccountName: 'used', containers: [{ name: 'main', image: 'any' }], volumes };
    await make(client, `${core}/pods`, { apiVersion: 'v1', kind: 'Pod', metadata: metadata('guest'), spec });
    const involvedObject = { kind: 'Pod', namespace: name, name: 'guest' };
    const event = { involvedObject, reason: 'Started', source: { component: 'virt-handler', host: 'own' } };
    await make(client, `${core}/events`, { apiVersion: 'v1', kind: 'Event', metadata: metadata('happened'), ...event });
    const vmi = { apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', metadata: metadata('guest') };
    const vmis = `/apis/kubevirt.io/v1/namespaces/${name}/virtualmachineinstances`;
    await make(client, vmis, { ...vmi, spec: { domain: { devices: {} } } });
    const headers = { 'content-type': 'application/merge-patch+json' };
    await client.raw({ method: 'PATCH', path: `${vmis}/guest`, headers, body: { status: { nodeName: 'own' } } });
    await client.raw({ method: 'PATCH', path: `${vmis}/guest/status`, headers, body: { status: { nodeName: 'own' } } });
  }
  const leases = '/apis/coordination.k8s.io/v1/namespaces';
  for (const name of ['team', 'foreign', 'kube-node-lease']) {
    const metadata = { name: 'own', namespace: name };
    await make(client, `${leases}/${name}/leases`, { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec: {} });
  }
  await make(client, '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'own' } });
  const matchExpressions = [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['own'] }];
  const volume = {
    ...{ capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], local: { path: '/disk' } },
    nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions }] } },
  };
  const metadata = { name: 'disk' };
  await make(client, '/api/v1/persistentvolumes', { apiVersion: 'v1', kind: 'PersistentVolume', metadata, spec: volume });
  const content = {
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshotContent',
    metadata: { name: 'kept' },
    spec: {
      driver: 'local.slipway.dev',
      deletionPolicy: 'Delete',
      source: { volumeHandle: 'own/00000000-0000-0000-0000-000000000000' },
      volumeSnapshotRef: { namespace: 'team', name: 'snapshot' },
    },
  };
  await make(client, '/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents', content);
}

/** Whose request it is, the server takes from who makes it. */
async function requestCertificate(client: Client): Promise<void> {
  const spec = { request: 'eA==', signerName: 'kubernetes.io/kube-apiserver-client-kubelet', usages: ['client auth'] };
  const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
  const request = { apiVersion: 'certificates.k8s.io/v1', kind: 'CertificateSigningRequest', metadata: { name: 'asked' }, spec };
  await make(client, path, request);
}

async function bind(client: Client): Promise<void> {
  const group = 'rbac.authorization.k8s.io';
  const roleRef = (name: string) => ({ apiGroup: group, kind: 'ClusterRole', name });
  const subjects = (name: string) => [{ apiGroup: group, kind: 'User', name }];
  for (const role of ['view', 'edit', 'admin'] as const) {
    const binding = { apiVersion: `${group}/v1`, kind: 'RoleBinding', metadata: { name: role }, roleRef: roleRef(role) };
    const path = `/apis/${group}/v1/namespaces/team/rolebindings`;
    await make(client, path, { ...binding, subjects: subjects(USERS[role].username) });
  }
  const binding = { apiVersion: `${group}/v1`, kind: 'ClusterRoleBinding', metadata: { name: 'root' } };
  const path = `/apis/${group}/v1/clusterrolebindings`;
  await make(client, path, { ...binding, roleRef: roleRef('cluster-admin'), subjects: subjects('root') });
}

beforeAll(async () => {
  const nodes = fakeNodeConnector();
  const tunnel = createTunnelServer({ clock: systemClock, log: silentLogger, token: () => 'unguessable' });
  const late: { client?: Client } = {};
  const version = { gitVersion: '', gitCommit: '', gitTreeState: '', buildDate: '', goVersion: '', compiler: '', platform: '' };
  const subresources = virtualMachineSubresources({
    get client(): Client {
      if (late.client === undefined) throw new Error('Not started');
      return late.client;
    },
    nodes,
    version,
    config: () => clusterConfig({}),
    expandVm: async (vm) => vm,
  });
  const aggregatedApis = [subresources, tunnel.api];
  server = await createApiServer({
    store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
    definitions: builtinResources(),
    bundledCrds: bundledCustomResourceDefinitions(),
    aggregatedApis,
    nodes,
    logError: (error, what) => failures.push(`${what}: ${error instanceof Error ? error.stack : String(error)}`),
  });
  const client = server.client(ADMIN);
  late.client = server.client({ username: 'virt-api', groups: ['system:masters'] });
  await makeObjects(client);
  await bind(client);
  await requestCertificate(server.client(USERS['node-own']));
  routes = [
    ...server.registry.all().flatMap((definition) => resourceRoutes(definition, NAMES)),
    ...aggregatedApis.flatMap((api) => aggregatedRoutes(api, NAMES)),
    ...pathRoutes(),
  ];
});
afterAll(() => server.close());

/** True when authorization let the request pass, whatever became of it afterwards. */
async function isAllowed(client: Client, { method, path, query, isStream }: Route): Promise<boolean> {
  if (isStream) {
    try {
      (await client.connect({ path, query, protocols: ['v1.tunnel.slipway.dev', 'plain.kubevirt.io'] })).close();
      return true;
    } catch (error) {
      return !(error instanceof StatusError && error.code === 403);
    }
  }
  // a body that no kind accepts: nothing is written, and authorization comes first
  const body = method === 'GET' || method === 'DELETE' ? undefined : [];
  const answer = await client.raw({ method, path, query, ...(body !== undefined && { body }) });
  return answer.status !== 403;
}

describe('authorization', () => {
  it('has a table of every route', () => {
    expect(routes.length).toBeGreaterThan(1000);
    expect(new Set(routes.map(({ verb }) => verb))).toEqual(
      new Set(['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection']),
    );
  });

  it.each(PERSONAS)('lets %s do exactly what the roles say', async (persona) => {
    const client = server.client(USERS[persona]);
    const wrong: string[] = [];
    for (const route of routes) {
      const [expected, actual] = [isExpected(persona, route), await isAllowed(client, route)];
      const { verb, group, resource, path } = route;
      if (expected !== actual) wrong.push(`${expected ? 'refused' : 'ALLOWED'} ${verb} ${group} ${resource} ${path}`);
    }
    expect(wrong).toEqual([]);
    expect(failures).toEqual([]);
  });
});
