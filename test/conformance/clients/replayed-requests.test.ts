// What Helm, Argo CD, Terraform and Ansible send, written down by hand: each step as the tool makes it, over HTTPS.
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Cluster, startCluster } from '../src/cluster.ts';
import {
  APPLY,
  DEPLOYMENTS,
  JOBS,
  JSON_PATCH,
  type Json,
  MERGE,
  NAMESPACE,
  type Requester,
  STRATEGIC,
  VMS,
  deployment,
  metadataOf,
  requesterOf,
  vm,
} from '../src/requests.ts';

let cluster: Cluster;
let requester: Requester;
const send: Requester['send'] = (...request) => requester.send(...request);

beforeAll(async () => {
  cluster = await startCluster();
  requester = requesterOf(cluster);
});
afterAll(async () => {
  await requester.close();
  await cluster.close();
  expect(cluster.failures).toEqual([]);
});

const withoutVersion = (object: Json): Json => ({ ...object, metadata: { ...metadataOf(object), managedFields: undefined } });

describe('Helm', () => {
  const release = (version: number, status: string): Json => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: `sh.helm.release.v1.shop.v${version}`,
      labels: { owner: 'helm', name: 'shop', status, version: String(version), modifiedAt: '1700000000' },
    },
    type: 'helm.sh/release.v1',
    // the release is gzipped JSON in base64, and base64 again as the data of a Secret
    data: { release: Buffer.from(gzipSync(JSON.stringify({ name: 'shop', version })).toString('base64')).toString('base64') },
  });

  it('finds out what the cluster is', async () => {
    const version = await send('GET', '/version', 200);
    expect(version['gitVersion']).toMatch(/^v1\.\d+\.\d+$/);
    const groups = (await send('GET', '/apis', 200))['groups'] as { name: string; versions: { groupVersion: string }[] }[]; // discovery
    for (const { versions } of groups) for (const { groupVersion } of versions) await send('GET', `/apis/${groupVersion}`, 200);
    expect(groups.map(({ name }) => name)).toContain('kubevirt.io');
  });

  it('installs, upgrades by a three-way patch, and uninstalls', async () => {
    const query = { labelSelector: 'name=shop,owner=helm' };
    expect((await send('GET', `${NAMESPACE}/secrets`, 200, { query }))['items']).toEqual([]);
    await send('POST', `${NAMESPACE}/secrets`, 201, { body: release(1, 'pending-install') });
    await send('GET', `${DEPLOYMENTS}/shop`, 404);
    const managed = { 'app.kubernetes.io/managed-by': 'Helm' };
    const annotations = { 'meta.helm.sh/release-name': 'shop', 'meta.helm.sh/release-namespace': 'default' };
    const metadata = { labels: managed, annotations };
    const write = { fieldManager: 'helm', fieldValidation: 'Strict' };
    await send('POST', DEPLOYMENTS, 201, { body: deployment('shop', 'one', metadata), query: write });
    await send('POST', VMS, 201, { body: vm('shop', metadata), query: write });
    const old = release(1, 'deployed');
    await send('PUT', `${NAMESPACE}/secrets/${String(metadataOf(old)['name'])}`, 200, { body: old });
    await send('POST', `${NAMESPACE}/secrets`, 201, { body: release(2, 'pending-upgrade') });
    const containers = [{ name: 'main', image: 'two' }];
    const patch = { spec: { template: { spec: { $setElementOrder: undefined, containers } } } };
    await send('PATCH', `${DEPLOYMENTS}/shop`, 200, { body: patch, headers: STRATEGIC, query: { fieldManager: 'helm' } });
    await send('PATCH', `${VMS}/shop`, 415, { body: {}, headers: STRATEGIC });
    const change = { spec: { runStrategy: 'Manual' } };
    await send('PATCH', `${VMS}/shop`, 200, { body: change, headers: MERGE, query: { fieldManager: 'helm' } });
    const releases = await send('GET', `${NAMESPACE}/secrets`, 200, { query: { labelSelector: 'owner=helm,name=shop' } });
    expect((releases['items'] as unknown[]).length).toBe(2);
    const background = { kind: 'DeleteOptions', apiVersion: 'v1', propagationPolicy: 'Background' };
    await send('DELETE', `${DEPLOYMENTS}/shop`, 200, { body: background });
    await send('DELETE', `${VMS}/shop`, 200, { body: background });
    for (const number of [1, 2]) await send('DELETE', `${NAMESPACE}/secrets/sh.helm.release.v1.shop.v${number}`, 200);
    await send('DELETE', `${NAMESPACE}/secrets/sh.helm.release.v1.shop.v2`, 404);
  });
});

describe('Helm hooks', () => {
  it('are made anew before each run, and found by their name', async () => {
    const hook = {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: {
        name: 'migrate',
        annotations: { 'helm.sh/hook': 'pre-upgrade', 'helm.sh/hook-delete-policy': 'before-hook-creation' },
      },
      spec: { backoffLimit: 1, template: { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'x' }] } } },
    };
    const first = await send('POST', JOBS, 201, { body: hook, query: { fieldManager: 'helm' } });
    await send('POST', JOBS, 409, { body: hook, query: { fieldManager: 'helm' } });
    const query = { fieldSelector: 'metadata.name=migrate' };
    expect((await send('GET', JOBS, 200, { query }))['items']).toHaveLength(1);
    const background = { kind: 'DeleteOptions', apiVersion: 'v1', propagationPolicy: 'Background' };
    await send('DELETE', `${JOBS}/migrate`, 200, { body: background });
    await send('GET', `${JOBS}/migrate`, 404);
    const second = await send('POST', JOBS, 201, { body: hook, query: { fieldManager: 'helm' } });
    expect(metadataOf(second)['uid']).not.toBe(metadataOf(first)['uid']);
    expect(second['spec']).toMatchObject({ completions: 1, parallelism: 1, backoffLimit: 1 });
  });
});

describe('Argo CD', () => {
  const TRACKING = { 'argocd.argoproj.io/tracking-id': 'shop:apps/Deployment:default/argo' };

  it('lists every kind that says it can be listed', async () => {
    const groups = (await send('GET', '/apis', 200))['groups'] as { preferredVersion: { groupVersion: string } }[]; // discovery
    const roots = ['/api/v1', ...groups.map(({ preferredVersion }) => `/apis/${preferredVersion.groupVersion}`)];
    let kinds = 0;
    for (const root of roots) {
      const resources = (await send('GET', root, 200))['resources'] as { name: string; verbs: string[]; kind: string }[]; // discovery
      for (const { name, verbs } of resources.filter(({ name, verbs }) => !name.includes('/') && verbs.includes('list'))) {
        const list = await send('GET', `${root}/${name}`, 200, { query: { limit: '500', resourceVersion: '0' } });
        expect(Array.isArray(list['items']), name).toBe(true);
        expect(metadataOf(list)['resourceVersion'], name).toMatch(/^\d+$/);
        // the only kind that is made up when asked for
        if (name !== 'componentstatuses') expect(verbs, name).toContain('watch');
        kinds++;
      }
    }
    expect(kinds).toBeGreaterThan(60);
  });

  it('checks its rights, reads the types, and applies without drift', async () => {
    const body = {
      ...{ apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview' },
      spec: { resourceAttributes: { verb: 'list', resource: '*', group: '*' } },
    };
    const review = await send('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', 201, { body });
    expect(review['status']).toMatchObject({ allowed: true });
    // sent as plain text, and read as JSON by everybody
    const openapi = JSON.parse(String((await send('GET', '/openapi/v2', 200))['text'])) as Json;
    expect(openapi['definitions']).toHaveProperty(['io.k8s.api.apps.v1.Deployment']);
    const wanted = vm('argo', { annotations: TRACKING });
    const query = { fieldManager: 'argocd-controller', force: 'true' };
    const first = await send('PATCH', `${VMS}/argo`, 201, { body: wanted, headers: APPLY, query });
    const dry = await send('PATCH', `${VMS}/argo`, 200, { body: wanted, headers: APPLY, query: { ...query, dryRun: 'All' } });
    expect(withoutVersion(dry)).toEqual(withoutVersion(first));
    const again = await send('PATCH', `${VMS}/argo`, 200, { body: wanted, headers: APPLY, query });
    expect(metadataOf(again)['resourceVersion']).toBe(metadataOf(first)['resourceVersion']);
    expect(again['spec']).toEqual(wanted['spec']);
  });

  it('sees no difference in what it has not written, and prunes in the foreground', async () => {
    const last = 'kubectl.kubernetes.io/last-applied-configuration';
    const manifest = deployment('argo', 'one', { annotations: TRACKING });
    const annotations = { ...TRACKING, [last]: JSON.stringify(manifest) };
    await send('POST', DEPLOYMENTS, 201, { body: deployment('argo', 'one', { annotations }) });
    const patch = { metadata: { annotations: { [last]: JSON.stringify(manifest) } } };
    const before = await send('GET', `${DEPLOYMENTS}/argo`, 200);
    const after = await send('PATCH', `${DEPLOYMENTS}/argo`, 200, { body: patch, headers: STRATEGIC });
    expect(metadataOf(after)['resourceVersion']).toBe(metadataOf(before)['resourceVersion']);
    const options = { kind: 'DeleteOptions', apiVersion: 'v1', propagationPolicy: 'Foreground' };
    await send('DELETE', `${DEPLOYMENTS}/argo`, 200, { body: options });
    const terminating = await send('GET', `${DEPLOYMENTS}/argo`, 200);
    expect(metadataOf(terminating)).toMatchObject({ finalizers: ['foregroundDeletion'], deletionTimestamp: expect.any(String) });
  });
});

describe('Terraform', () => {
  it('makes typed resources, changes them by JSON patch, and waits until they are gone', async () => {
    const body = { metadata: { name: 'tf', namespace: 'default' }, data: { a: '1' } };
    await send('POST', `${NAMESPACE}/configmaps`, 201, { body: { apiVersion: 'v1', kind: 'ConfigMap', ...body } });
    const patch = [
      { op: 'replace', path: '/data/a', value: '2' },
      { op: 'add', path: '/metadata/labels', value: { made: 'by-terraform' } },
    ];
    const changed = await send('PATCH', `${NAMESPACE}/configmaps/tf`, 200, { body: patch, headers: JSON_PATCH });
    expect([changed['data'], metadataOf(changed)['labels']]).toEqual([{ a: '2' }, { made: 'by-terraform' }]);
    await send('DELETE', `${NAMESPACE}/configmaps/tf`, 200);
    await send('GET', `${NAMESPACE}/configmaps/tf`, 404);
  });

  it('plans a manifest by a dry run and gets what the plan said', async () => {
    const query = { fieldManager: 'Terraform' };
    const plan = await send('PATCH', `${VMS}/tf`, [200, 201], {
      body: vm('tf'),
      headers: APPLY,
      query: { ...query, dryRun: 'All' },
    });
    await send('GET', `${VMS}/tf`, 404);
    const made = await send('PATCH', `${VMS}/tf`, 201, { body: vm('tf'), headers: APPLY, query });
    expect(made['spec']).toEqual(plan['spec']);
    const theirs = { ...vm('tf'), spec: { ...(vm('tf')['spec'] as Json), runStrategy: 'Manual' } };
    const conflict = await send('PATCH', `${VMS}/tf`, 409, { body: theirs, headers: APPLY, query: { fieldManager: 'other' } });
    const cause = { reason: 'FieldManagerConflict', field: '.spec.runStrategy' };
    expect(conflict['details']).toMatchObject({ causes: [expect.objectContaining(cause)] });
    await send('PATCH', `${VMS}/tf`, 200, { body: theirs, headers: APPLY, query: { fieldManager: 'other', force: 'true' } });
  });
});

describe('Terraform for virtual machines', () => {
  it('checks the credentials, looks for the type, and changes a machine by JSON patch', async () => {
    await send('GET', '/apis', 200);
    const crds = await send('GET', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', 200, { query: { limit: '500' } });
    expect(Array.isArray(crds['items'])).toBe(true);
    await send('POST', VMS, 201, { body: vm('tfvm') });
    const body = [{ op: 'replace', path: '/spec/runStrategy', value: 'Manual' }];
    const changed = await send('PATCH', `${VMS}/tfvm`, 200, { body, headers: JSON_PATCH });
    expect(changed['spec']).toMatchObject({ runStrategy: 'Manual' });
    await send('DELETE', `${VMS}/tfvm`, 200);
  });
});

describe('Ansible', () => {
  it('falls back to a merge patch for custom resources, and applies by the last configuration', async () => {
    const last = 'kubectl.kubernetes.io/last-applied-configuration';
    const wanted = vm('fallback', { labels: { tier: 'web' } });
    await send('POST', VMS, 201, {
      body: { ...wanted, metadata: { ...metadataOf(wanted), annotations: { [last]: JSON.stringify(wanted) } } },
    });
    await send('PATCH', `${VMS}/fallback`, 415, { body: wanted, headers: STRATEGIC });
    const without = vm('fallback');
    const patch = { metadata: { labels: { tier: null }, annotations: { [last]: JSON.stringify(without) } } };
    const applied = await send('PATCH', `${VMS}/fallback`, 200, { body: patch, headers: MERGE });
    expect((metadataOf(applied)['labels'] as Json | undefined)?.['tier']).toBeUndefined();
    const query = { fieldManager: 'ansible', force: 'true' };
    const owned = await send('PATCH', `${VMS}/fallback`, 200, { body: without, headers: APPLY, query });
    expect(metadataOf(owned)['managedFields']).toContainEqual(
      expect.objectContaining({ manager: 'ansible', operation: 'Apply' }),
    );
    await send('DELETE', `${VMS}/fallback`, 200);
  });

  it('looks kinds up, creates, merges and finds nothing to change', async () => {
    const { resources } = (await send('GET', '/apis/kubevirt.io/v1', 200)) as { resources?: { kind: string; name: string }[] };
    expect(resources?.find(({ kind, name }) => kind === 'VirtualMachine' && !name.includes('/'))?.name).toBe('virtualmachines');
    await send('GET', `${VMS}/ansible`, 404);
    // check mode
    await send('POST', VMS, 201, { body: vm('ansible'), query: { dryRun: 'All' } });
    await send('GET', `${VMS}/ansible`, 404);
    const made = await send('POST', VMS, 201, { body: vm('ansible') });
    const same = await send('PATCH', `${VMS}/ansible`, 200, { body: vm('ansible'), headers: MERGE });
    expect(metadataOf(same)['resourceVersion']).toBe(metadataOf(made)['resourceVersion']);
    const replaced = {
      ...vm('ansible'),
      metadata: { name: 'ansible', namespace: 'default', resourceVersion: metadataOf(made)['resourceVersion'] },
    };
    await send('PUT', `${VMS}/ansible`, 200, { body: replaced });
    const list = await send('GET', VMS, 200, { query: { labelSelector: 'absent=yes', fieldSelector: '' } });
    expect(list['items']).toEqual([]);
    await send('DELETE', `${VMS}/ansible`, 200, { body: { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 0 } });
  });

  it('gets a Status for everything refused', async () => {
    const wrong = { ...vm('wrong'), spec: { ...(vm('wrong')['spec'] as Json), runStrategy: 7 } };
    const refused = await send('POST', VMS, 422, { body: wrong });
    expect(refused).toMatchObject({ kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'Invalid', code: 422 });
    const again = await send('POST', `${NAMESPACE}/configmaps`, 201, { body: { metadata: { name: 'twice' } } });
    expect(again['kind']).toBe('ConfigMap');
    const exists = await send('POST', `${NAMESPACE}/configmaps`, 409, { body: { metadata: { name: 'twice' } } });
    expect(exists['reason']).toBe('AlreadyExists');
  });
});
