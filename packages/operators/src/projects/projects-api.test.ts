import { NamespaceKind, NetworkPolicyKind, RoleBindingKind } from '@slipway/api';
import type { RouteRequest } from '@slipway/runtime';
import type { Client } from '@slipway/client';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { projectsApi } from './projects-api.ts';

let world: TestWorld;
beforeEach(() => {
  world = testWorld({ api: 'server', controllers: [] });
});
afterEach(() => world.close());

function ask(method: string, resource: string, rest: Partial<RouteRequest> = {}) {
  const route = projectsApi({ client: world.client }).routes.find((each) => each.resource === resource);
  const user = { username: 'ann', groups: ['system:authenticated'] };
  const request: RouteRequest = {
    ...{ user, method, version: 'v1', namespace: '', name: '', rest: [], query: new URLSearchParams(), body: undefined },
    signal: new AbortController().signal,
    ...rest,
  };
  const handler = route?.methods[method];
  if (handler === undefined) throw new Error(`no ${method} ${resource}`);
  return handler(request);
}
const request = (name: string, annotations = {}) => ({
  kind: 'ProjectRequest',
  metadata: { name, annotations },
  displayName: 'Shop',
});

describe('projects', () => {
  it('are namespaces of whoever asked for them', async () => {
    const { status } = await ask('POST', 'projectrequests', {
      body: request('shop', { 'slipway.dev/network-policy': 'isolated' }),
    });
    expect(status).toBe(201);
    expect((await world.get(NamespaceKind, 'shop')).metadata.annotations).toMatchObject({
      'openshift.io/display-name': 'Shop',
      'openshift.io/requester': 'ann',
    });
    expect((await world.get(RoleBindingKind, 'shop/admin')).subjects).toMatchObject([{ kind: 'User', name: 'ann' }]);
    expect(await world.exists(NetworkPolicyKind, 'shop/allow-same-namespace')).toBe(true);
    const { body } = await ask('GET', 'projects');
    expect((body as { items: { metadata: { name: string } }[] }).items.map(({ metadata }) => metadata.name)).toEqual(['shop']);
    expect((await ask('GET', 'projects', { name: 'shop' })).status).toBe(200);
    await expect(ask('GET', 'projects', { name: 'default' })).rejects.toThrow('cannot get resource "projects"');
    expect((await ask('DELETE', 'projects', { name: 'shop' })).status).toBe(200);
  });

  it('are printed with what users call them and whether they go', async () => {
    await world.close();
    const late = {
      get: (...parts: Parameters<Client['get']>) => world.client.get(...parts),
      list: (...parts: Parameters<Client['list']>) => world.client.list(...parts),
      raw: (...parts: Parameters<Client['raw']>) => world.client.raw(...parts),
    } as Client; // nothing is changed
    world = testWorld({ api: 'server', controllers: [], aggregatedApis: [projectsApi({ client: late })] });
    const annotations = { 'openshift.io/display-name': 'The Shop' };
    await world.with(built(NamespaceKind, 'shop', { metadata: { name: 'shop', annotations } }));
    const get = async (path: string, accept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json') =>
      (await world.client.raw({ method: 'GET', path: `/apis/project.openshift.io/v1/projects${path}`, headers: { accept } }))
        .body;
    const row = { cells: ['shop', 'The Shop', 'Active'], object: { kind: 'PartialObjectMetadata', metadata: { name: 'shop' } } };
    const columnDefinitions = ['Name', 'Display Name', 'Status'].map((name) => ({ name, type: 'string' }));
    const table = { kind: 'Table', apiVersion: 'meta.k8s.io/v1', columnDefinitions };
    expect(await get('')).toMatchObject({
      ...table,
      rows: expect.arrayContaining([expect.objectContaining({ cells: row.cells })]),
    });
    expect(await get('/shop')).toMatchObject({ ...table, rows: [row] });
    expect(await get('/shop', 'application/json')).toMatchObject({ kind: 'Project', metadata: { name: 'shop' } });
    expect(await get('', '*/*')).toMatchObject({ kind: 'ProjectList' });
    expect(await get('/absent')).toMatchObject({ kind: 'Status', code: 404 });
  });

  it.each(['openshift-x', 'kube-y', 'default'])('refuse the name %s', async (name) => {
    await expect(ask('POST', 'projectrequests', { body: request(name) })).rejects.toThrow('is forbidden');
  });

  it('refuse a name that is taken', async () => {
    await ask('POST', 'projectrequests', { body: request('shop') });
    await expect(ask('POST', 'projectrequests', { body: request('shop') })).rejects.toThrow('already exists');
  });
});
