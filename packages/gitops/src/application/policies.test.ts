import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { ConfigMapKind, NamespaceKind, SecretKind } from '@slipway/api';
import { hostRunner } from '@slipway/hostapi';
import { built, type GitRepository, gitRepository, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Application, ApplicationKind, type ApplicationSpec, type AppProject, AppProjectKind } from '../kinds.ts';
import { type GitOps, gitOps } from './index.ts';
import type { ManagedResource } from './managed-resources.ts';
import { settlePatiently } from './testing/settle.ts';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 });

const APP = { namespace: 'openshift-gitops', name: 'settings' };
const PROJECT = { namespace: 'openshift-gitops', name: 'default' };
let world: TestWorld;
let directory: string;
let repository: GitRepository;
let parts: GitOps;

const settle = (): Promise<void> => settlePatiently(world);
const commit = (text: string): string => repository.commit({ 'all.yaml': text });

const config = (name: string, value = 'b', annotations = '{}'): string =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, annotations: ${annotations}}\ndata: {a: ${value}}\n---\n`;
const hook = (name: string, phase: string, more = ''): string => config(name, 'b', `{argocd.argoproj.io/hook: ${phase}${more}}`);
/** The server refuses it. */
const REFUSED = 'apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 99999999}]}\n---\n';

async function apply(spec: Partial<ApplicationSpec> = {}, finalizers: string[] = []): Promise<void> {
  await world.with(
    built(ApplicationKind, `${APP.namespace}/${APP.name}`, {
      metadata: { ...APP, finalizers },
      spec: {
        destination: { server: 'https://kubernetes.default.svc', namespace: 'default' },
        project: 'default',
        syncPolicy: { syncOptions: ['PrunePropagationPolicy=background'] },
        source: { repoURL: `file://${repository.directory}`, targetRevision: 'HEAD', path: '.' },
        ...spec,
      },
    }),
  );
  await settle();
}

const app = (): Promise<Application> => world.get(ApplicationKind, APP);
async function patch(body: object): Promise<void> {
  await world.client.patch(ApplicationKind, APP, body, { type: 'merge' });
  await settle();
}
const refresh = (): Promise<void> => patch({ metadata: { annotations: { 'argocd.argoproj.io/refresh': 'hard' } } });
const sync = (more: object = {}, operation: object = {}): Promise<void> =>
  patch({ operation: { sync: { prune: true, ...more }, ...operation } });
const configs = async (): Promise<string[]> =>
  (await world.list(ConfigMapKind, 'default'))
    .flatMap(({ metadata }) => metadata.name ?? [])
    .filter((name) => !name.startsWith('kube-'));
async function permit(spec: AppProject['spec']): Promise<void> {
  await world.client.patch(AppProjectKind, PROJECT, { spec: JSON.parse(JSON.stringify(spec)) }, { type: 'merge' });
  await settle();
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'slipway-gitops-'));
  repository = gitRepository(join(directory, 'repo'));
  parts = gitOps({ runner: hostRunner, cacheDir: join(directory, 'cache'), reach: { paths: [repository.directory] } });
  world = testWorld({ api: 'server', controllers: parts.registrations });
  await world.with(built(NamespaceKind, 'openshift-gitops'));
  await settle();
});
afterEach(async () => {
  await world.close();
  rmSync(directory, { recursive: true, force: true });
});

describe('a project', () => {
  it('is needed: without default, which is made once, nothing is permitted', async () => {
    commit(config('one'));
    const project = await world.get(AppProjectKind, PROJECT);
    await world.client.delete(AppProjectKind, PROJECT);
    await settle();
    await apply();
    await sync();
    const { status } = await app();
    expect(status?.conditions).toMatchObject([
      { type: 'InvalidSpecError', message: 'Application referencing project default which does not exist' },
    ]);
    expect(status?.operationState?.phase).toBe('Error');
    expect(await configs()).toEqual([]);
    const spec = { ...project.spec };
    await world.with(built(AppProjectKind, `${PROJECT.namespace}/${PROJECT.name}`, { metadata: PROJECT, spec }));
    await settle();
    expect((await app()).status?.conditions).toEqual([]);
  });

  it('bounds repositories, namespaces and kinds, of what is pruned and of other sources too', async () => {
    commit(config('one'));
    await apply();
    await sync();
    expect(await configs()).toEqual(['one']);
    await permit({ destinations: [{ server: '*', namespace: 'other' }] });
    const messages = async (): Promise<string> => ((await app()).status?.conditions ?? []).map(({ message }) => message).join();
    expect(await messages()).toContain('do not match any of the allowed destinations');
    await permit({ destinations: [{ server: '*', namespace: '*' }], sourceRepos: ['https://git.example/*'] });
    expect(await messages()).toContain('is not permitted in project');
    await permit({ sourceRepos: [`file://${repository.directory}`], clusterResourceWhitelist: [] });
    expect(await messages()).toBe('');
    await sync({ source: { repoURL: '/etc', path: '.' } });
    expect((await app()).status?.operationState).toMatchObject({
      phase: 'Error',
      message: expect.stringContaining('application repo /etc'),
    });
    commit('apiVersion: v1\nkind: Namespace\nmetadata: {name: more}\n');
    await refresh();
    expect(await messages()).toContain("resource :Namespace in namespace '' is not permitted");
    await permit({ namespaceResourceBlacklist: [{ group: '', kind: 'ConfigMap' }] });
    commit('');
    await sync();
    expect(await configs()).toEqual(['one']);
  });
});

describe('hooks', () => {
  it('of a failed sync run before it counts as failed, and retries begin anew', async () => {
    commit(`${REFUSED}${hook('sorry', 'SyncFail')}`);
    await apply();
    await sync({}, { retry: { limit: 1, backoff: { duration: '1s' } } });
    expect((await app()).status?.operationState).toMatchObject({ phase: 'Running', retryCount: 1 });
    expect(await configs()).toEqual(['sorry']);
    world.clock.advance(5_000);
    await settle();
    const { operationState } = (await app()).status ?? {};
    expect(operationState).toMatchObject({ phase: 'Failed', retryCount: 1 });
    expect(operationState?.syncResult?.resources?.map(({ name, hookType, status }) => [name, hookType ?? status])).toEqual([
      ['bad', 'SyncFailed'],
      ['sorry', 'SyncFail'],
    ]);
  });

  it('of a deletion run before and after it', async () => {
    commit(
      `${config('one')}${hook('before', 'PreDelete')}${hook('after', 'PostDelete', ', argocd.argoproj.io/hook-delete-policy: HookSucceeded')}`,
    );
    await apply({}, ['resources-finalizer.argocd.argoproj.io/background']);
    expect((await app()).metadata.finalizers).toEqual([
      'resources-finalizer.argocd.argoproj.io/background',
      'pre-delete-finalizer.argocd.argoproj.io',
      'post-delete-finalizer.argocd.argoproj.io',
    ]);
    await sync();
    expect(await configs()).toEqual(['one']);
    await world.client.delete(ApplicationKind, APP);
    await settle();
    expect(await world.exists(ApplicationKind, APP)).toBe(false);
    expect(await configs()).toEqual(['before']);
  });
});

describe('a window', () => {
  it('holds syncs back until it is over', async () => {
    commit(config('one'));
    await permit({ syncWindows: [{ kind: 'deny', schedule: '* * * * *', duration: '1h', applications: ['*'] }] });
    await apply({ syncPolicy: { automated: {} } });
    expect((await app()).status?.operationState).toBeUndefined();
    await sync();
    expect((await app()).status?.operationState).toMatchObject({
      phase: 'Running',
      message: 'Sync operation blocked by sync window',
    });
    expect(await configs()).toEqual([]);
    await permit({ syncWindows: [] });
    world.clock.advance(60_000);
    await settle();
    expect((await app()).status?.operationState?.phase).toBe('Succeeded');
    expect(await configs()).toEqual(['one']);
  });
});

describe('differences', () => {
  it('that are to be ignored are none', async () => {
    commit(config('one'));
    await apply({ ignoreDifferences: [{ group: '', kind: 'ConfigMap', jsonPointers: ['/data/a'] }] });
    await sync();
    await world.client.patch(ConfigMapKind, { namespace: 'default', name: 'one' }, { data: { a: 'other' } }, { type: 'merge' });
    await refresh();
    expect((await app()).status?.sync?.status).toBe('Synced');
    await world.client.patch(
      ConfigMapKind,
      { namespace: 'default', name: 'one' },
      { metadata: { annotations: { 'argocd.argoproj.io/tracking-id': null } } },
      { type: 'merge' },
    );
    await refresh();
    expect((await app()).status?.sync?.status).toBe('OutOfSync');
  });

  it('are told to whoever asks, without what is secret', async () => {
    const secret = (value: string): string =>
      `apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: ${value}, same: x}\n---\n`;
    commit(`${config('one')}${secret('first')}`);
    await apply();
    await sync();
    commit(`${config('one', 'changed')}${secret('second')}`);
    const [route] = parts.api.routes;
    const request = {
      user: { username: 'ann', groups: [] },
      method: 'GET',
      version: 'v1',
      ...APP,
      rest: [],
      query: new URLSearchParams(),
      body: undefined,
    };
    const answer = await route?.methods['GET']?.({ ...request, signal: new AbortController().signal });
    expect(answer?.status).toBe(200);
    const { items = [] } = (answer?.body ?? {}) as { items?: ManagedResource[] };
    expect(items.map(({ kind, isDifferent }) => [kind, isDifferent])).toEqual([
      ['ConfigMap', true],
      ['Secret', true],
    ]);
    expect(items[0]?.target).toMatchObject({ data: { a: 'changed' } });
    expect(items[1]?.target?.['data']).toEqual({ k: '******** (after)', same: '********' });
    expect(JSON.stringify(items)).not.toContain(Buffer.from('second').toString('base64'));
  });
});

describe('a webhook', () => {
  it('has the applications of a repository compared, for senders that know the secret', async () => {
    commit(config('one'));
    await apply();
    const secret = { 'webhook.github.secret': Buffer.from('s3').toString('base64') };
    await world.with(built(SecretKind, 'openshift-gitops/argocd-secret', { data: secret }));
    const revision = commit(config('one', 'changed'));
    const body = JSON.stringify({ ref: 'refs/heads/main', repository: { clone_url: `file://${repository.directory}` } });
    const send = (signature: string) =>
      parts.webhook.handle({
        ...{ method: 'POST', path: '/api/webhook', query: new URLSearchParams(), headers: { 'x-hub-signature-256': signature } },
        ...{ incoming: Readable.from([Buffer.from(body)]), signal: new AbortController().signal },
      });
    expect((await send('sha256=0')).status).toBe(401);
    expect((await send(`sha256=${createHmac('sha256', 's3').update(body).digest('hex')}`)).status).toBe(200);
    await settle();
    expect((await app()).status?.sync?.revision).toBe(revision);
  });
});
