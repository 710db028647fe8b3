import {
  ClusterRoleBindingKind,
  NamespaceKind,
  RoleBindingKind,
  RoleKind,
  type ServiceAccount,
  ServiceAccountKind,
  VirtualMachineKind,
} from '@slipway/api';
import { isObject, type KubeObject, StatusError } from '@slipway/apimachinery';
import type { AggregatedApi, UserInfo } from '@slipway/runtime';
import { built, type TestWorld, testWorld, vm } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { SSP_NAME, SspKind } from '../../kinds.ts';
import { accessObjects, standingOf, tokenSeconds } from './access-objects.ts';
import { vmConsoleProxy } from './index.ts';

const ANN: UserInfo = { username: 'ann', groups: ['system:authenticated'] };
const TOKENS = '/apis/token.kubevirt.io/v1/namespaces/a/virtualmachines';
const GUESTS = '/apis/subresources.kubevirt.io/v1/namespaces/a/virtualmachineinstances';

let world: TestWorld;
afterEach(() => world.close());

const ssp = (enabled: boolean) =>
  built(SspKind, `openshift-cnv/${SSP_NAME}`, {
    spec: { commonTemplates: { namespace: 'openshift' }, tokenGenerationService: { enabled } },
  });
const grant = (role: string) =>
  built(ClusterRoleBindingKind, role, {
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'ann' }],
  });
const machine = (name: string) => vm(`a/${name}`, { spec: { runStrategy: 'Always' } });
/** Routes as those of guests: whom they let in is decided by the API server. */
const GUEST_ROUTES: AggregatedApi = {
  group: 'subresources.kubevirt.io',
  versions: ['v1'],
  routes: ['vnc', 'console', 'vnc/screenshot'].map((subresource) => ({
    ...{ resource: 'virtualmachineinstances', namespaced: true, discoverable: false, subresource, methods: {} },
    connect: async () => ({ protocols: ['plain.kubevirt.io'], run: async () => {} }),
  })),
};

/** An API server with routes of guests, in which `ann` may ask for tokens. */
async function start(enabled = true): Promise<TestWorld> {
  const proxy = vmConsoleProxy();
  world = testWorld({ api: 'server', controllers: [proxy.registration], aggregatedApis: [proxy.api, GUEST_ROUTES] });
  await world.with(ssp(enabled), grant('token.kubevirt.io:generate'), grant('kubevirt.io:edit'));
  await world.with(machine('web'), machine('db'));
  await world.settle();
  return world;
}

/** What the API answers: the body, or the code and message of a refusal. */
async function ask(path: string, user: UserInfo = ANN, query: Record<string, string> = {}): Promise<unknown> {
  const { status, body } = await world.clientOf(user).raw({ method: 'GET', path, query });
  return status < 400 ? body : `${status} ${isObject(body) ? String(body['message']) : ''}`;
}

async function tokenFor(name: string, query: Record<string, string> = {}): Promise<string> {
  const body = await ask(`${TOKENS}/${name}/vnc`, ANN, query);
  if (!isObject(body) || typeof body['token'] !== 'string') throw new Error(`No token: ${JSON.stringify(body)}`);
  return body['token'];
}

/** Who the server takes the holder of a token for; undefined when the token does not hold. */
async function holder(token: string): Promise<UserInfo | undefined> {
  const { body } = await world.client.raw({
    method: 'POST',
    path: '/apis/authentication.k8s.io/v1/tokenreviews',
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } },
  });
  const review = body as { status: { authenticated?: boolean; user: UserInfo } }; // of the server itself
  return review.status.authenticated === true ? review.status.user : undefined;
}

async function opens(user: UserInfo, path: string): Promise<string> {
  try {
    const stream = await world.clientOf(user).connect({ path, protocols: ['plain.kubevirt.io'] });
    stream.close();
    return 'open';
  } catch (error) {
    if (error instanceof StatusError) return `${error.code} ${error.reason}`;
    throw error;
  }
}

describe('a token for the screen of a VM', () => {
  it('opens the screen of that VM and nothing else', async () => {
    await start();
    const user = await holder(await tokenFor('web'));
    if (user === undefined) throw new Error('The token does not hold');
    expect(user.username).toBe('system:serviceaccount:a:web-vnc-access');
    expect(await opens(user, `${GUESTS}/web/vnc`)).toBe('open');
    const refused = [
      `${GUESTS}/db/vnc`,
      `${GUESTS}/web/console`,
      `${GUESTS}/web/vnc/screenshot`,
      `${GUESTS.replace('/a/', '/b/')}/web/vnc`,
    ];
    for (const path of refused) expect(await opens(user, path)).toBe('403 Forbidden');
    const others = [
      `${TOKENS}/web/vnc`,
      '/apis/kubevirt.io/v1/namespaces/a/virtualmachines/web',
      '/apis/kubevirt.io/v1/namespaces/a/virtualmachineinstances/web',
      '/api/v1/namespaces/a/serviceaccounts/web-vnc-access',
      '/api/v1/namespaces/a/secrets',
    ];
    for (const path of others) expect(await ask(path, user)).toMatch(/^403 /);
  });

  it('holds as long as was asked for, ten minutes otherwise', async () => {
    await start();
    const usual = await tokenFor('web');
    const long = await tokenFor('web', { duration: '1h30m' });
    world.clock.advance(11 * 60_000);
    expect(await holder(usual)).toBeUndefined();
    expect(await holder(long)).toBeDefined();
    world.clock.advance(80 * 60_000);
    expect(await holder(long)).toBeUndefined();
  });

  it('says when it ends', async () => {
    await start();
    const ends = new Date(world.clock.now() + 24 * 3_600_000).toISOString().replace(/\.\d+Z$/, 'Z');
    expect(await ask(`${TOKENS}/web/vnc`, ANN, { duration: '24h' })).toMatchObject({ expirationTimestamp: ends });
  });

  it('ends with its VM: the next one of that name has others', async () => {
    await start();
    const before = await tokenFor('web');
    const key = { namespace: 'a', name: 'web' };
    await world.client.delete(VirtualMachineKind, key);
    // nothing collects garbage here: the account of the machine that is gone is still there
    await world.with(machine('web'));
    const after = await holder(await tokenFor('web'));
    expect(await holder(before)).toBeUndefined();
    expect(after?.username).toBe('system:serviceaccount:a:web-vnc-access');
  });

  it('ends when its account is removed', async () => {
    await start();
    const token = await tokenFor('web');
    await world.client.delete(ServiceAccountKind, { namespace: 'a', name: 'web-vnc-access' });
    expect(await holder(token)).toBeUndefined();
  });

  it('is one account for all who ask, and an edited role is put right', async () => {
    await start();
    await Promise.all([tokenFor('web'), tokenFor('web'), tokenFor('web')]);
    const role = await world.get(RoleKind, 'a/web-vnc-access');
    const wide = { ...role, rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }] };
    await world.client.update(RoleKind, wide);
    await tokenFor('web');
    expect((await world.get(RoleKind, 'a/web-vnc-access')).rules).toEqual(role.rules);
    const { subjects } = await world.get(RoleBindingKind, 'a/web-vnc-access');
    expect(subjects).toEqual([{ kind: 'ServiceAccount', name: 'web-vnc-access', namespace: 'a' }]);
  });

  it('is refused where an account of that name has another purpose', async () => {
    await start();
    await world.with(built(ServiceAccountKind, 'a/web-vnc-access'));
    expect(await ask(`${TOKENS}/web/vnc`)).toMatch(/^409 ServiceAccount "web-vnc-access" was not made for tokens/);
  });

  it('is refused to who may not open the screen, or not ask', async () => {
    await start();
    await world.client.delete(ClusterRoleBindingKind, { namespace: '', name: 'kubevirt.io:edit' });
    expect(await ask(`${TOKENS}/web/vnc`)).toMatch(/^401 User "ann" cannot get resource "virtualmachineinstances\/vnc"/);
    expect(await ask(`${TOKENS}/web/vnc`, { ...ANN, username: 'bob' })).toMatch(
      /^403 virtualmachines.token.kubevirt.io "web" is forbidden/,
    );
  });

  it('is refused for a VM that does not exist, and for times that cannot be', async () => {
    await start();
    expect(await ask(`${TOKENS}/none/vnc`)).toMatch(/^404 VirtualMachine does not exist/);
    expect(await ask(`${TOKENS}/web/vnc`, ANN, { duration: '5m' })).toMatch(/^400 the duration must be at least 10m0s/);
    expect(await ask(`${TOKENS}/web/vnc`, ANN, { duration: 'soon' })).toMatch(/^400 failed to parse duration/);
    expect(await world.exists(ServiceAccountKind, 'a/web-vnc-access')).toBe(false);
    expect(await ask(`${TOKENS}/web/vnc`, ANN, { duration: '2000000h' })).toMatch(/^422 failed to request token: .*larger than/);
  });
});

describe('the API of tokens', () => {
  const isListed = async (): Promise<boolean> => JSON.stringify(await ask('/apis')).includes('token.kubevirt.io');

  it('is there while the SSP object asks for it', async () => {
    await start(false);
    expect(await isListed()).toBe(false);
    expect(await ask(`${TOKENS}/web/vnc`)).toMatch(/^404 /);
    const key = { namespace: 'openshift-cnv', name: SSP_NAME };
    const enable = (enabled: boolean) =>
      world.client.patch(SspKind, key, { spec: { tokenGenerationService: { enabled } } }, { type: 'merge' });
    await enable(true);
    await world.settle();
    expect(await isListed()).toBe(true);
    expect(await tokenFor('web')).not.toBe('');
    await enable(false);
    await world.settle();
    expect(await isListed()).toBe(false);
    expect(await world.exists(NamespaceKind, 'a')).toBe(true);
  });
});

describe('seconds of a token', () => {
  it.each([
    [null, 600],
    ['', 600],
    ['10m', 600],
    ['1h30m', 5400],
    ['900.7s', 900],
  ])('%s: %d', (duration, expected) => expect(tokenSeconds(duration)).toBe(expected));

  it.each(['9m59s', '-1h', '0', 'ten', '5'])('%s is refused', (duration) => expect(() => tokenSeconds(duration)).toThrow());
});

describe('what is there already', () => {
  const machineOf = (uid: string) => ({
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { name: 'web', namespace: 'a', uid },
    spec: { template: { spec: { domain: { devices: {} } } } },
  });
  const { account } = accessObjects(machineOf('u1'));
  const changed = (metadata: Partial<ServiceAccount['metadata']>): KubeObject => ({
    ...account,
    metadata: { ...account.metadata, ...metadata },
  });
  it.each([
    ['absent', undefined],
    ['kept', account],
    ['kept', changed({ uid: 'x', resourceVersion: '7' })],
    ['stale', accessObjects(machineOf('u0')).account],
    ['stale', changed({ deletionTimestamp: '2026-01-01T00:00:00Z' })],
    ['foreign', changed({ labels: {} })],
  ] as const)('%s', (standing, current) => expect(standingOf(account, current)).toBe(standing));
});
