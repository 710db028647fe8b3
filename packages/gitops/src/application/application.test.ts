import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NamespaceKind, VirtualMachineKind } from '@slipway/api';
import { hostRunner } from '@slipway/hostapi';
import { built, type GitRepository, gitRepository, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Application, ApplicationKind, type ApplicationSpec } from '../kinds.ts';
import { gitOps } from './index.ts';
import { settlePatiently } from './testing/settle.ts';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 });

let world: TestWorld;
let directory: string;
let repository: GitRepository;
/** Nobody collects garbage in these tests. */
const BACKGROUND = ['PrunePropagationPolicy=background'];
const APP = { namespace: 'openshift-gitops', name: 'example-virtual-machines' };

const settle = (): Promise<void> => settlePatiently(world);
const commit = (files: Readonly<Record<string, string | null>>): string => repository.commit(files);

const vm = (name: string, memory: string, password = ''): string => `apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata:
  name: ${name}
  namespace: default
  finalizers:
    - kubevirt.io/virtualMachineControllerFinalize
  labels:
    app: ${name}
spec:
  running: true
  template:
    metadata:
      creationTimestamp: null
      labels:
        kubevirt.io/domain: ${name}
    spec:
      domain:
        devices:
          disks:
            - disk:
                bus: virtio
              name: rootdisk
        memory:
          guest: ${memory}
        resources: {}
      volumes:
        - cloudInitNoCloud:
            userData: "#cloud-config ${password}"
          name: rootdisk
`;

const CHART = {
  'vms/Chart.yaml': 'apiVersion: v2\nname: example-virtual-machines\nversion: 1.0.0\n',
  'vms/values.yaml': 'rhelRootPassword: change-me\n',
  'vms/templates/rhel9.yaml': vm('example-rhel9', '16Gi', '{{ $.Values.rhelRootPassword }}'),
  'vms/templates/windows10.yaml': vm('example-windows10', '8Gi'),
  'vms/templates/server2019.yaml': vm('example-server2019', '32Gi'),
};

async function apply(spec: Partial<ApplicationSpec> & { source?: object } = {}): Promise<void> {
  await world.with(
    built(ApplicationKind, `${APP.namespace}/${APP.name}`, {
      metadata: { ...APP, finalizers: ['resources-finalizer.argocd.argoproj.io/background'] },
      spec: {
        destination: { name: '', server: 'https://kubernetes.default.svc' },
        project: 'default',
        syncPolicy: { syncOptions: BACKGROUND },
        source: {
          repoURL: `file://${repository.directory}`,
          targetRevision: 'HEAD',
          path: 'vms',
          helm: { values: 'rhelRootPassword: s3cret\n' },
        },
        ...spec,
      },
    }),
  );
  await settle();
}

const app = (): Promise<Application> => world.get(ApplicationKind, APP);
const patch = (body: object): Promise<Application> => world.client.patch(ApplicationKind, APP, body, { type: 'merge' });
const refresh = async (): Promise<void> => {
  await patch({ metadata: { annotations: { 'argocd.argoproj.io/refresh': 'normal' } } });
  await settle();
};
const sync = async (options: object = {}): Promise<void> => {
  await patch({ operation: { sync: { prune: true, ...options }, initiatedBy: { username: 'ann' } } });
  await settle();
};
const syncStatus = async (): Promise<string | undefined> => (await app()).status?.sync?.status;
const memory = async (): Promise<unknown> =>
  (await world.get(VirtualMachineKind, 'default/example-rhel9')).spec?.template?.spec?.domain?.memory?.guest;
const vms = async (): Promise<string[]> =>
  (await world.list(VirtualMachineKind, 'default')).map(({ metadata }) => metadata.name ?? '').sort();

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'slipway-gitops-'));
  repository = gitRepository(join(directory, 'repo'));
  world = testWorld({
    api: 'server',
    controllers: gitOps({ runner: hostRunner, cacheDir: join(directory, 'cache'), reach: { paths: [repository.directory] } })
      .registrations,
  });
  await world.with(built(NamespaceKind, 'openshift-gitops'));
});
afterEach(async () => {
  await world.close();
  rmSync(directory, { recursive: true, force: true });
});

describe('an application with a chart of three machines', () => {
  it('is compared, synced, changed, pruned, and never drifts after a sync', async () => {
    const revision = commit(CHART);
    await apply();
    expect((await app()).status).toMatchObject({
      sync: { status: 'OutOfSync', revision },
      health: { status: 'Missing' },
      sourceType: 'Helm',
    });
    expect(await vms()).toEqual([]);

    await sync();
    expect(await vms()).toEqual(['example-rhel9', 'example-server2019', 'example-windows10']);
    const synced = await app();
    expect(synced.operation).toBeUndefined();
    expect(synced.status).toMatchObject({
      operationState: { phase: 'Succeeded', syncResult: { revision } },
      sync: { status: 'Synced' },
      history: [{ id: 0, revision, initiatedBy: { username: 'ann' } }],
    });
    const machine = await world.get(VirtualMachineKind, 'default/example-rhel9');
    expect(JSON.stringify(machine.spec)).toContain('#cloud-config s3cret');
    expect(machine.metadata.annotations?.['argocd.argoproj.io/tracking-id']).toBe(
      'example-virtual-machines:kubevirt.io/VirtualMachine:default/example-rhel9',
    );

    await refresh();
    expect(await syncStatus()).toBe('Synced');
    expect((await app()).metadata.annotations?.['argocd.argoproj.io/refresh']).toBeUndefined();

    commit({ 'vms/templates/rhel9.yaml': vm('example-rhel9', '24Gi', '{{ $.Values.rhelRootPassword }}') });
    await refresh();
    const changed = await app();
    expect(changed.status?.resources?.filter(({ status }) => status === 'OutOfSync').map(({ name }) => name)).toEqual([
      'example-rhel9',
    ]);
    await sync();
    expect(await memory()).toBe('24Gi');
    expect(await syncStatus()).toBe('Synced');

    commit({ 'vms/templates/windows10.yaml': null });
    await refresh();
    expect((await app()).status?.resources).toContainEqual(
      expect.objectContaining({ name: 'example-windows10', requiresPruning: true, status: 'OutOfSync' }),
    );
    await world.client.patch(
      VirtualMachineKind,
      { namespace: 'default', name: 'example-windows10' },
      { metadata: { finalizers: null } },
      { type: 'merge' },
    );
    await sync({ prune: false });
    expect(await vms()).toContain('example-windows10');
    await sync();
    expect(await vms()).toEqual(['example-rhel9', 'example-server2019']);
    expect(await syncStatus()).toBe('Synced');
    expect((await app()).status?.history?.map(({ id }) => id)).toEqual([0, 1, 2, 3]);
  });

  it('goes back to an earlier revision, and shows that it differs from the source', async () => {
    const first = commit(CHART);
    await apply();
    await sync();
    commit({ 'vms/templates/rhel9.yaml': vm('example-rhel9', '24Gi') });
    await sync();
    await sync({ revision: first });
    expect(await memory()).toBe('16Gi');
    expect(await syncStatus()).toBe('OutOfSync');
    expect((await app()).status?.operationState?.syncResult?.revision).toBe(first);
  });

  it('syncs, heals and prunes by itself when the policy says so', async () => {
    commit(CHART);
    await apply({ syncPolicy: { syncOptions: BACKGROUND, automated: { prune: true, selfHeal: true } } });
    expect(await vms()).toHaveLength(3);
    expect((await app()).status?.operationState?.operation.initiatedBy).toEqual({ automated: true });
    await world.client.patch(
      VirtualMachineKind,
      { namespace: 'default', name: 'example-rhel9' },
      { spec: { template: { spec: { domain: { memory: { guest: '1Gi' } } } } } },
      { type: 'merge' },
    );
    world.clock.advance(10_000);
    await refresh();
    expect(await memory()).toBe('16Gi');
  });

  it('takes its machines along when it is deleted', async () => {
    commit({ ...CHART, 'vms/templates/rhel9.yaml': vm('example-rhel9', '1Gi').replace(/ {2}finalizers:\n.*\n/, '') });
    commit({ 'vms/templates/windows10.yaml': null, 'vms/templates/server2019.yaml': null });
    await apply();
    await sync();
    expect(await vms()).toEqual(['example-rhel9']);
    await world.client.delete(ApplicationKind, APP);
    await settle();
    expect(await vms()).toEqual([]);
    expect(await world.exists(ApplicationKind, APP)).toBe(false);
  });
});

describe('other sources', () => {
  const config = (name: string, annotations = ''): string =>
    `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\n${annotations}data: {a: b}\n`;

  it('reads a directory, with waves in order', async () => {
    const wave = (n: number): string => `  annotations: {argocd.argoproj.io/sync-wave: "${n}"}\n`;
    commit({
      'plain/a.yaml': `${config('late', wave(5))}---\n${config('early', wave(-1))}`,
      'plain/sub/c.yaml': config('deep'),
      'plain/note.txt': 'x',
    });
    await apply({
      source: { repoURL: repository.directory, path: 'plain', directory: { recurse: true } },
      destination: { server: 'https://kubernetes.default.svc', namespace: 'default' },
    });
    await sync();
    const state = (await app()).status?.operationState;
    expect(state?.phase).toBe('Succeeded');
    expect(state?.syncResult?.resources?.map(({ name }) => name)).toEqual(['early', 'deep', 'late']);
    expect((await app()).status?.sourceType).toBe('Directory');
  });

  it.each([
    [
      'a repository that is not there',
      { repoURL: 'file:///nonexistent/repo.git', path: '.' },
      'ComparisonError',
      'failed to read the repository',
    ],
    ['a directory that nobody allowed', { repoURL: '/etc', path: '.' }, 'ComparisonError', '--allow-git-path'],
    ['an address of this machine', { repoURL: 'http://127.0.0.1:1/a.git', path: '.' }, 'ComparisonError', 'are refused'],
    ['a name of this machine', { repoURL: 'https://localhost:1/a.git', path: '.' }, 'ComparisonError', 'are refused'],
    ['a metadata service', { repoURL: 'http://169.254.169.254/a.git', path: '.' }, 'ComparisonError', 'are refused'],
    ['this machine over ssh', { repoURL: 'git@localhost:a.git', path: '.' }, 'ComparisonError', 'are refused'],
    ['a link-local address over ssh', { repoURL: 'ssh://git@[fe80::1]:22/a', path: '.' }, 'ComparisonError', 'are refused'],
    ['options of ssh', { repoURL: 'ssh://-oProxyCommand=id/a', path: '.' }, 'ComparisonError', 'is not supported'],
    ['a protocol without identity', { repoURL: 'git://127.0.0.1/a', path: '.' }, 'ComparisonError', 'is not supported'],
    ['a program in the URL', { repoURL: 'ext::sh -c id', path: '.' }, 'ComparisonError', 'is not supported'],
    ['a path that leads out', { path: '../..' }, 'ComparisonError', 'leads out of the repository'],
    ['a path that does not exist', { path: 'nope' }, 'ComparisonError', 'app path does not exist'],
    ['a chart of no repository', { chart: 'web' }, 'ComparisonError', 'is not a repository of a registry'],
    ['a chart of this machine', { repoURL: 'http://127.0.0.1/charts', chart: 'web' }, 'ComparisonError', 'are refused'],
  ])('refuses %s', async (_what, source, type, message) => {
    commit(CHART);
    await apply({ source: { repoURL: repository.directory, path: 'vms', ...source } });
    const { status } = await app();
    expect(status?.sync?.status).toBe('Unknown');
    expect(status?.conditions).toEqual([expect.objectContaining({ type, message: expect.stringContaining(message) })]);
  });

  it('leaves applications of other namespaces alone', async () => {
    commit(CHART);
    await world.with(
      built(ApplicationKind, 'default/other', {
        spec: {
          project: 'default',
          destination: { server: 'https://kubernetes.default.svc' },
          source: { repoURL: repository.directory, path: 'vms' },
        },
      }),
    );
    await settle();
    expect((await world.get(ApplicationKind, 'default/other')).status).toBeUndefined();
  });
});
