import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigMapKind, NamespaceKind, SecretKind } from '@slipway/api';
import { hostRunner } from '@slipway/hostapi';
import {
  built,
  chartPackage,
  type GitRepository,
  gitRepository,
  type ImageServer,
  sha256Of,
  startImageServer,
  type TestWorld,
  testWorld,
} from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Application, ApplicationKind, type ApplicationSource, AppProjectKind } from '../kinds.ts';
import { gitOps } from './index.ts';
import { settlePatiently } from './testing/settle.ts';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 });

const APP = { namespace: 'openshift-gitops', name: 'charts' };
const SETTINGS = `apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Chart.Name }}}
data: {version: {{ .Chart.Version | quote }}, size: {{ .Values.size | quote }}}
`;

let directory: string;
let server: ImageServer;
let world: TestWorld;
let repository: GitRepository;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'slipway-app-charts-'));
  server = await startImageServer();
  repository = gitRepository(join(directory, 'repo'));
  const reach = { paths: [repository.directory], addresses: ['127.0.0.1'] };
  const { registrations } = gitOps({ runner: hostRunner, cacheDir: join(directory, 'cache'), reach });
  world = testWorld({ api: 'server', controllers: registrations });
  await world.with(built(NamespaceKind, APP.namespace));
  // its default project
  await settle();
});
afterEach(async () => {
  await world.close();
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

const settle = (): Promise<void> => settlePatiently(world);

/** A Helm repository whose index asks who is there. */
async function publish(charts: readonly (readonly [name: string, version: string, more?: string])[]): Promise<void> {
  const entries: Record<string, object[]> = {};
  for (const [name, version, more] of charts) {
    const data = await chartPackage(name, version, { 'templates/settings.yaml': SETTINGS, 'values.yaml': 'size: 1\n' }, more);
    server.files.set(`/${name}-${version}.tgz`, { body: data });
    entries[name] = [...(entries[name] ?? []), { version, urls: [`${name}-${version}.tgz`], digest: sha256Of(data) }];
  }
  const body = Buffer.from(JSON.stringify({ apiVersion: 'v1', entries }));
  server.files.set('/index.yaml', { body, challenge: 'Basic realm="charts"' });
}

const giveCredentials = (): Promise<unknown> =>
  world.with(
    built(SecretKind, `${APP.namespace}/charts`, {
      metadata: { ...APP, labels: { 'argocd.argoproj.io/secret-type': 'repository' } },
      data: Object.fromEntries(
        Object.entries({ type: 'helm', name: 'main', url: `${server.url}/`, username: 'ann', password: 'hunter2' }).map(
          ([key, value]) => [key, Buffer.from(value).toString('base64')],
        ),
      ),
    }),
  );

async function apply(sources: readonly ApplicationSource[]): Promise<void> {
  await world.with(
    built(ApplicationKind, `${APP.namespace}/${APP.name}`, {
      metadata: APP,
      spec: {
        destination: { server: 'https://kubernetes.default.svc', namespace: 'default' },
        project: 'default',
        syncPolicy: { automated: { prune: true } },
        ...(sources.length === 1 ? { source: sources[0] } : { sources }),
      },
    }),
  );
  await settle();
}

const app = (): Promise<Application> => world.get(ApplicationKind, APP);
const condition = async (): Promise<string> => (await app()).status?.conditions?.map(({ message }) => message).join() ?? '';
const refresh = async (patch: object = {}): Promise<void> => {
  const metadata = { annotations: { 'argocd.argoproj.io/refresh': 'normal' } };
  await world.client.patch(ApplicationKind, APP, { metadata, ...patch }, { type: 'merge' });
  await settle();
};
const settings = async (name: string): Promise<unknown> => (await world.get(ConfigMapKind, `default/${name}`)).data;

describe('an application with a chart of a Helm repository', () => {
  it('follows its range, with values and the credentials of a Secret', async () => {
    await publish([
      ['web', '1.0.0'],
      ['web', '1.1.0'],
      ['web', '2.0.0'],
    ]);
    await apply([{ repoURL: server.url, chart: 'web', targetRevision: '^1.0.0', helm: { values: 'size: 5\n' } }]);
    expect(await condition()).toContain('answered 401');
    expect(await condition()).toContain('Give a Secret with the label argocd.argoproj.io/secret-type: repository');
    await giveCredentials();
    await refresh();
    expect((await app()).status).toMatchObject({
      sync: { status: 'Synced', revision: '1.1.0' },
      sourceType: 'Helm',
      history: [{ revision: '1.1.0' }],
    });
    expect(await settings('web')).toEqual({ version: '1.1.0', size: '5' });
    await publish([
      ['web', '1.1.0'],
      ['web', '1.2.0'],
    ]);
    await refresh();
    expect(await settings('web')).toEqual({ version: '1.2.0', size: '5' });
    expect((await app()).status?.history?.map(({ revision }) => revision)).toEqual(['1.1.0', '1.2.0']);
  });

  it('takes values from git, and says which version there is not', async () => {
    await giveCredentials();
    await publish([['web', '1.0.0']]);
    repository.commit({ 'values/prod.yaml': 'size: 9\n' });
    const git = { repoURL: `file://${repository.directory}`, ref: 'values' };
    const chart = {
      repoURL: server.url,
      chart: 'web',
      targetRevision: '1.0.0',
      helm: { valueFiles: ['$values/values/prod.yaml'] },
    };
    await apply([git, chart]);
    expect(await settings('web')).toEqual({ version: '1.0.0', size: '9' });
    await refresh({ spec: { sources: [git, { ...chart, targetRevision: '7.0.0' }] } });
    expect((await app()).status?.conditions?.[0]?.type).toBe('ComparisonError');
    expect(await condition()).toContain('chart "web" version "7.0.0" not found');
  });
});

describe('a chart in git', () => {
  const source = (): ApplicationSource => ({ repoURL: `file://${repository.directory}`, path: '.' });
  const dependency = (version: string, place = server.url): string =>
    `apiVersion: v2\nname: umbrella\nversion: 1.0.0\ndependencies:\n- {name: web, version: ${version}, repository: "${place}"}\n`;

  it('gets what it depends on, in the version that is locked', async () => {
    await giveCredentials();
    await publish([
      ['web', '1.0.0'],
      ['web', '1.1.0'],
    ]);
    repository.commit({ 'Chart.yaml': dependency('^1.0.0') });
    await apply([source()]);
    expect(await settings('web')).toEqual({ version: '1.1.0', size: '1' });
    const lock = `dependencies: [{name: web, version: 1.0.0, repository: "${server.url}"}]\n`;
    repository.commit({ 'Chart.lock': lock, 'values.yaml': 'web: {size: 3}\n', 'Chart.yaml': dependency('^1.0.0', '@main') });
    await refresh();
    expect(await settings('web')).toEqual({ version: '1.0.0', size: '3' });
    repository.commit({ 'Chart.yaml': dependency('^2.0.0') });
    await refresh();
    expect(await condition()).toContain('Run `helm dependency update` and commit Chart.lock');
  });

  it('asks nobody for what lies in charts/, and gives no credentials to repositories beyond its project', async () => {
    await giveCredentials();
    await publish([['web', '1.0.0']]);
    const vendored = { 'charts/web/Chart.yaml': 'apiVersion: v2\nname: web\nversion: 1.5.0\n' };
    repository.commit({
      'Chart.yaml': dependency('^1.0.0'),
      ...vendored,
      'charts/web/templates/a.yaml': SETTINGS,
      'charts/web/values.yaml': 'size: 2',
    });
    await world.client.patch(
      AppProjectKind,
      { namespace: APP.namespace, name: 'default' },
      { spec: { sourceRepos: [`file://${repository.directory}`] } },
      { type: 'merge' },
    );
    await apply([source()]);
    expect(await settings('web')).toEqual({ version: '1.5.0', size: '2' });
    expect(server.requests).toEqual([]);
    repository.commit({ 'charts/web/Chart.yaml': null, 'charts/web/templates/a.yaml': null, 'charts/web/values.yaml': null });
    await refresh();
    expect(await condition()).toContain('answered 401');
    expect([...new Set(server.requests.map(({ authorization }) => authorization))]).toEqual([undefined]);
    repository.commit({ 'Chart.yaml': dependency('^1.0.0', 'http://169.254.169.254') });
    await refresh();
    expect(await condition()).toContain('loopback, link-local and metadata addresses are refused');
  });
});
