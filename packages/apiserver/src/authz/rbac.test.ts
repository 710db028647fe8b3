import type { StatusError } from '@slipway/apimachinery';
import { ClusterRoleBindingKind, ClusterRoleKind, RoleBindingKind, RoleKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import type { UserInfo } from '@slipway/runtime';
import { memoryStoreFs, openStore } from '@slipway/store';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ApiServer, createApiServer } from '../api-server.ts';
import { builtinResources } from '../builtin/index.ts';

const GROUP = 'rbac.authorization.k8s.io';
let server: ApiServer;
let admin: Client;

beforeEach(async () => {
  server = await createApiServer({
    store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
    definitions: builtinResources(),
  });
  admin = server.client({ username: 'root', groups: ['system:masters'] });
});
afterEach(() => server.close());

const ann: UserInfo = { username: 'ann', groups: ['dev'] };
const roleRef = (kind: string, name: string) => ({ apiGroup: GROUP, kind, name });
const subject = (kind: string, name: string) => ({ apiGroup: GROUP, kind, name });

const clusterRole = (name: string, rules: object[], rest: object = {}) => ({
  apiVersion: `${GROUP}/v1`,
  kind: 'ClusterRole',
  metadata: { name, ...rest },
  rules: rules as { verbs: string[] }[],
});
const clusterBinding = (name: string, role: string, subjects: object[]) => ({
  apiVersion: `${GROUP}/v1`,
  kind: 'ClusterRoleBinding',
  metadata: { name },
  roleRef: roleRef('ClusterRole', role),
  subjects: subjects as { kind: string; name: string }[],
});

interface Review {
  readonly allowed: boolean;
  readonly reason?: string;
}

async function review(user: UserInfo, verb: string, resource: string, rest: object = {}): Promise<Review> {
  const { username, groups } = user;
  const body = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: { user: username, groups, resourceAttributes: { verb, resource, namespace: 'default', ...rest } },
  };
  const answer = await admin.raw({ method: 'POST', path: '/apis/authorization.k8s.io/v1/subjectaccessreviews', body });
  return (answer.body as { status: Review }).status;
}

const may = async (...what: Parameters<typeof review>): Promise<boolean> => (await review(...what)).allowed;

describe('rights', () => {
  it('come, change and go with roles and bindings, from the next request on', async () => {
    expect(await may(ann, 'get', 'pods')).toBe(false);
    await admin.create(ClusterRoleBindingKind, clusterBinding('b', 'pods', [subject('User', 'ann')]));
    expect(await may(ann, 'get', 'pods')).toBe(false); // of a role that is not there yet
    await admin.create(ClusterRoleKind, clusterRole('pods', [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }]));
    expect(await review(ann, 'get', 'pods')).toEqual({
      allowed: true,
      reason: 'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "pods" to User "ann"',
    });
    expect(await may(ann, 'list', 'pods')).toBe(false);
    const rules = [{ apiGroups: [''], resources: ['pods'], verbs: ['list'] }];
    await admin.patch(ClusterRoleKind, { namespace: '', name: 'pods' }, { rules }, { type: 'merge' });
    expect([await may(ann, 'get', 'pods'), await may(ann, 'list', 'pods')]).toEqual([false, true]);
    await admin.delete(ClusterRoleBindingKind, { namespace: '', name: 'b' });
    expect(await may(ann, 'list', 'pods')).toBe(false);
  });

  it('of a namespace hold there alone', async () => {
    const metadata = { namespace: 'default', name: 'r' };
    const rules = [{ apiGroups: ['apps'], resources: ['deployments/*', 'deployments'], verbs: ['*'] }];
    await admin.create(RoleKind, { apiVersion: `${GROUP}/v1`, kind: 'Role', metadata, rules });
    await admin.create(RoleBindingKind, {
      apiVersion: `${GROUP}/v1`,
      kind: 'RoleBinding',
      metadata,
      roleRef: roleRef('Role', 'r'),
      subjects: [{ kind: 'ServiceAccount', name: 'robot', namespace: 'default' }],
    });
    const robot = { username: 'system:serviceaccount:default:robot', groups: [] };
    expect(await review(robot, 'patch', 'deployments', { group: 'apps' })).toEqual({
      allowed: true,
      reason: 'RBAC: allowed by RoleBinding "r/default" of Role "r" to ServiceAccount "robot/default"',
    });
    expect(await may(robot, 'patch', 'deployments', { group: 'apps', namespace: 'kube-system' })).toBe(false);
    expect(await may(robot, 'patch', 'deployments', { group: 'apps', namespace: '' })).toBe(false);
    expect(
      await may({ ...robot, username: 'system:serviceaccount:other:robot' }, 'patch', 'deployments', { group: 'apps' }),
    ).toBe(false);
    await admin.delete(RoleBindingKind, metadata);
    expect(await may(robot, 'patch', 'deployments', { group: 'apps' })).toBe(false);
  });

  it.each<[string, object, [string, string, object?], boolean]>([
    [
      'a name',
      { apiGroups: [''], resources: ['secrets'], resourceNames: ['one'], verbs: ['get'] },
      ['get', 'secrets', { name: 'one' }],
      true,
    ],
    [
      'another name',
      { apiGroups: [''], resources: ['secrets'], resourceNames: ['one'], verbs: ['get'] },
      ['get', 'secrets', { name: 'two' }],
      false,
    ],
    ['no name', { apiGroups: [''], resources: ['secrets'], resourceNames: ['one'], verbs: ['list'] }, ['list', 'secrets'], false],
    ['any group', { apiGroups: ['*'], resources: ['things'], verbs: ['get'] }, ['get', 'things', { group: 'x.io' }], true],
    ['any resource', { apiGroups: ['x.io'], resources: ['*'], verbs: ['get'] }, ['get', 'things', { group: 'x.io' }], true],
    [
      'a subresource under any resource',
      { apiGroups: [''], resources: ['*'], verbs: ['get'] },
      ['get', 'pods', { subresource: 'log' }],
      true,
    ],
    [
      'one subresource everywhere',
      { apiGroups: [''], resources: ['*/scale'], verbs: ['get'] },
      ['get', 'pods', { subresource: 'scale' }],
      true,
    ],
    [
      'a subresource of a resource alone',
      { apiGroups: [''], resources: ['pods'], verbs: ['get'] },
      ['get', 'pods', { subresource: 'log' }],
      false,
    ],
    ['another group', { apiGroups: ['apps'], resources: ['pods'], verbs: ['get'] }, ['get', 'pods'], false],
  ])('for %s', async (_what, rule, [verb, resource, rest], wanted) => {
    await admin.create(ClusterRoleKind, clusterRole('r', [rule]));
    await admin.create(ClusterRoleBindingKind, clusterBinding('b', 'r', [subject('Group', 'dev')]));
    expect(await may(ann, verb, resource, rest)).toBe(wanted);
  });
});

const refusal = (answer: Promise<unknown>): Promise<number | undefined> =>
  answer.then(
    () => undefined,
    (error: unknown) => (error as StatusError).code, // the client throws nothing else here
  );

describe('nobody grants what they do not hold', () => {
  let client: Client;
  const cluster = (name: string) => ({ namespace: '', name });

  beforeEach(async () => {
    const rules = [{ apiGroups: [GROUP], resources: ['*'], verbs: ['get', 'create', 'update', 'patch'] }];
    await admin.create(ClusterRoleKind, clusterRole('role-editor', rules));
    await admin.create(ClusterRoleBindingKind, clusterBinding('editors', 'role-editor', [subject('User', 'ann')]));
    client = server.client(ann);
  });

  it('by a label that has a role collected by another one', async () => {
    const labels = { 'rbac.authorization.k8s.io/aggregate-to-view': 'true' };
    expect(
      await refusal(client.patch(ClusterRoleKind, cluster('cluster-admin'), { metadata: { labels } }, { type: 'merge' })),
    ).toBe(403);
  });

  it('by a role that collects others', async () => {
    const aggregationRule = { clusterRoleSelectors: [{ matchLabels: { a: 'b' } }] };
    const collector = { ...clusterRole('collector', []), aggregationRule };
    expect(await refusal(client.create(ClusterRoleKind, collector))).toBe(403);
    await admin.create(ClusterRoleKind, clusterRole('plain', []));
    expect(await refusal(client.patch(ClusterRoleKind, cluster('plain'), { aggregationRule }, { type: 'merge' }))).toBe(403);
    expect(
      await refusal(client.patch(ClusterRoleKind, cluster('plain'), { metadata: { labels: { a: 'b' } } }, { type: 'merge' })),
    ).toBeUndefined();
  });

  it('by binding a role, to themselves or somebody else', async () => {
    expect(
      await refusal(client.create(ClusterRoleBindingKind, clusterBinding('mine', 'cluster-admin', [subject('User', 'ann')]))),
    ).toBe(403);
    expect(
      await refusal(client.create(ClusterRoleBindingKind, clusterBinding('own', 'role-editor', [subject('User', 'bob')]))),
    ).toBeUndefined();
  });

  it('but may keep what is there as it is', async () => {
    const finalizers = { metadata: { finalizers: ['example.com/hold'] } };
    expect(await refusal(client.patch(ClusterRoleKind, cluster('cluster-admin'), finalizers, { type: 'merge' }))).toBeUndefined();
  });
});

describe('impersonation', () => {
  const asAnn = async (headers: Record<string, string>): Promise<number> => {
    const value = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
    const { status } = await server.handle({
      method: 'POST',
      path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
      query: new URLSearchParams(),
      headers,
      body: { type: 'value', value },
      identity: { type: 'user', user: ann },
      remoteAddress: '',
      signal: new AbortController().signal,
    });
    return status;
  };

  it.each<[string, Record<string, string>, object[]]>([
    ['a user', { 'impersonate-user': 'bob' }, [{ apiGroups: [''], resources: ['users'], resourceNames: ['bob'] }]],
    [
      'a group',
      { 'impersonate-user': 'bob', 'impersonate-group': 'ops' },
      [{ apiGroups: [''], resources: ['users', 'groups'], resourceNames: ['bob', 'ops'] }],
    ],
    [
      'a uid',
      { 'impersonate-user': 'bob', 'impersonate-uid': '7' },
      [{ apiGroups: ['', 'authentication.k8s.io'], resources: ['users', 'uids'], resourceNames: ['bob', '7'] }],
    ],
    [
      'extra facts',
      { 'impersonate-user': 'bob', 'impersonate-extra-acme.com%2fscope': 'all' },
      [
        {
          apiGroups: ['', 'authentication.k8s.io'],
          resources: ['users', 'userextras/acme.com/scope'],
          resourceNames: ['bob', 'all'],
        },
      ],
    ],
  ])('of %s takes the right to exactly that', async (_what, headers, rules) => {
    expect(await asAnn(headers)).toBe(403);
    await admin.create(
      ClusterRoleKind,
      clusterRole(
        'i',
        rules.map((rule) => ({ verbs: ['impersonate'], ...rule })),
      ),
    );
    await admin.create(ClusterRoleBindingKind, clusterBinding('i', 'i', [subject('User', 'ann')]));
    expect(await asAnn(headers)).toBe(201);
    expect(await asAnn({ ...headers, 'impersonate-user': 'carl' })).toBe(403);
    expect(await asAnn({ ...headers, 'impersonate-group': 'system:masters' })).toBe(403);
  });

  it('needs headers that can be read', async () => {
    expect(await asAnn({ 'impersonate-user': 'bob', 'impersonate-extra-%zz': 'x' })).toBe(400);
    expect(await asAnn({ 'impersonate-group': 'ops' })).toBe(400);
  });
});

describe('a review of the rules one holds', () => {
  const rulesOf = async (user: UserInfo): Promise<Record<string, unknown>> => {
    const { body } = await server.client(user).raw({
      method: 'POST',
      path: '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews',
      body: { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectRulesReview', spec: { namespace: 'default' } },
    });
    return (body as { status: Record<string, unknown> }).status;
  };

  it('lists those of the cluster and of the namespace', async () => {
    await admin.create(RoleBindingKind, {
      apiVersion: `${GROUP}/v1`,
      kind: 'RoleBinding',
      metadata: { namespace: 'default', name: 'b' },
      roleRef: roleRef('ClusterRole', 'view'),
      subjects: [subject('Group', 'dev')],
    });
    const { resourceRules, nonResourceRules, incomplete } = await rulesOf(ann);
    const wanted = expect.objectContaining({ resources: expect.arrayContaining(['configmaps']) });
    expect(resourceRules).toEqual(expect.arrayContaining([wanted]));
    expect(nonResourceRules).toEqual(expect.arrayContaining([expect.objectContaining({ verbs: ['get'] })]));
    expect(incomplete).toBe(false);
  });

  it('says that it cannot list what a node may do', async () => {
    expect(await rulesOf({ username: 'system:node:a', groups: ['system:nodes'] })).toMatchObject({ incomplete: true });
  });
});
