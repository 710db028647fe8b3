import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { chartPackage, gitRepository, type ImageServer, sha256Of, startImageServer } from '@slipway/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Platform, ROOT, startPlatform } from './src/platform.ts';

const APP = 'example-virtual-machines';
const PASSWORD = 'a-password-of-the-test';
const CHART = `apiVersion: v2\nname: ${APP}\nversion: 1.0.0\n`;
const FIXTURES = ['rhel9', 'windows10', 'server2019'] as const;
const fixture = (file: string): string => readFileSync(join(ROOT, 'test/e2e/fixtures', file), 'utf8');
const templateOf = (name: string): string => `${APP}/templates/${name}.yaml`;

interface App {
  status: {
    sync: { status: string; revision?: string };
    resources: { name: string; status: string; requiresPruning?: boolean }[];
  };
}

// the machines wait for images that nobody has imported: what is tested is how they come, change and go
describe('machines that an Application brings from git', () => {
  const scratch = mkdtempSync('/tmp/sw-e2e-gitops-');
  // the server, which has no rights of its own, reads the repository
  chmodSync(scratch, 0o755);
  const repository = gitRepository(join(scratch, 'repository'));
  let platform: Platform;
  let charts: ImageServer;

  const app = async (verb: string, ...args: string[]): Promise<string> => {
    const result = await platform.slipway('app', verb, APP, ...args);
    expect(result.code, `slipway app ${verb}: ${result.stdout}${result.stderr}`).toBe(0);
    return result.stdout;
  };
  const appNow = async (): Promise<App> => JSON.parse(await app('get', '--refresh', '-o', 'json'));
  const stored = (name: string, path: string): Promise<string> =>
    platform.kubectl('get', 'vm', `example-${name}`, '-o', `jsonpath={.spec.template.spec.${path}}`);

  beforeAll(async () => {
    charts = await startImageServer();
    platform = await startPlatform({ up: ['--allow-git-path', scratch, '--allow-git-address', `127.0.0.1:${charts.port}`] });
    await platform.kubectl('create', 'namespace', 'openshift-gitops');
    await platform.until('appproject default -n openshift-gitops', () => true, 120_000);
  });
  afterAll(async () => {
    rmSync(scratch, { recursive: true, force: true });
    await platform?.destroy();
    await charts?.close();
  });

  it('come with the values of the Application, and are what git says, however often anybody asks', async () => {
    repository.commit({
      [`${APP}/Chart.yaml`]: CHART,
      ...Object.fromEntries(FIXTURES.map((name) => [templateOf(name), fixture(`${name}.yaml`)])),
    });
    // the Application is a template itself
    const chart = gitRepository(join(scratch, 'application'));
    chart.commit({
      'Chart.yaml': CHART,
      'values.yaml': `rhelRootPassword: ${PASSWORD}\n`,
      'templates/application.yaml': fixture('application.yaml.tpl'),
    });
    const rendered = await platform.slipway('template', chart.directory);
    expect(rendered.code, rendered.stderr).toBe(0);
    await platform.apply(rendered.stdout.replace(/repoURL: .*/, `repoURL: file://${repository.directory}`));
    expect((await appNow()).status.sync.status).toBe('OutOfSync');
    const missing = await platform.slipway('app', 'diff', APP);
    expect(missing.code, missing.stderr).toBe(1);
    expect(missing.stdout).toContain('+  name: example-server2019');
    await app('sync');
    for (let round = 0; round < 3; round++) {
      const { status } = await appNow();
      expect(status.resources.map(({ name, status: sync }) => `${name} ${sync}`).sort()).toEqual(
        [...FIXTURES].sort().map((name) => `example-${name} Synced`),
      );
      expect(status.sync.status).toBe('Synced');
    }
    expect(await app('diff')).toBe('');
    expect(await stored('rhel9', 'volumes')).toContain(PASSWORD);
  });

  it('change as their files do, and go back', async () => {
    repository.commit({ [templateOf('rhel9')]: fixture('rhel9.yaml').replace('guest: 16Gi', 'guest: 12Gi') });
    const different = await platform.slipway('app', 'diff', APP);
    expect(different.code, different.stderr).toBe(1);
    expect(different.stdout).toMatch(/^-\s+guest: 16Gi\n\+\s+guest: 12Gi/m);
    await app('sync');
    expect(await stored('rhel9', 'domain.memory.guest')).toBe('12Gi');
    expect((await appNow()).status.sync.status).toBe('Synced');
    await app('rollback');
    expect(await stored('rhel9', 'domain.memory.guest')).toBe('16Gi');
    expect((await appNow()).status.sync.status).toBe('OutOfSync');
    await app('sync');
    expect(await app('history')).toMatch(/^3 /m);
  });

  it('go when their file goes', async () => {
    repository.commit({ [templateOf('windows10')]: null });
    expect((await appNow()).status.resources).toContainEqual(
      expect.objectContaining({ name: 'example-windows10', requiresPruning: true }),
    );
    await app('sync', '--prune');
    await platform.kubectl('wait', '--for=delete', 'vm/example-windows10', '--timeout=240s');
    const { status } = await appNow();
    expect(status.sync.status).toBe('Synced');
    expect(status.resources.map(({ name }) => name)).toEqual(['example-rhel9', 'example-server2019']);
  });

  it('come from a repository of charts too, in the newest version of a range', async () => {
    for (const version of ['1.0.0', '1.1.0', '2.0.0'])
      charts.files.set(`/machines-${version}.tgz`, {
        body: await chartPackage('machines', version, { 'templates/vm.yaml': fixture('server2019.yaml') }),
      });
    const entries = ['1.0.0', '1.1.0', '2.0.0'].map((version) => {
      const file = `/machines-${version}.tgz`;
      return { version, urls: [file.slice(1)], digest: sha256Of(charts.files.get(file)?.body ?? '') };
    });
    charts.files.set('/index.yaml', { body: Buffer.from(JSON.stringify({ entries: { machines: entries } })) });
    const source = { repoURL: charts.url, chart: 'machines', targetRevision: '^1.0.0' };
    await platform.kubectl(
      ...['patch', 'app', APP, '-n', 'openshift-gitops', '--type=merge'],
      ...['-p', JSON.stringify({ spec: { source: { path: null, helm: null, ...source } } })],
    );
    await app('sync', '--prune');
    await platform.kubectl('wait', '--for=delete', 'vm/example-rhel9', '--timeout=240s');
    const { status } = await appNow();
    expect(status.sync).toMatchObject({ status: 'Synced', revision: '1.1.0' });
    expect(status.resources.map(({ name }) => name)).toEqual(['example-server2019']);
  });

  it('are judged before there is any platform', async () => {
    const rendered = await platform.slipway('template', join(repository.directory, APP), '--set', `rhelRootPassword=${PASSWORD}`);
    const check = await platform.slipway('check', join(ROOT, 'test/e2e/fixtures/windows10.yaml'), '--node-memory', '64Gi');
    expect(rendered.code, rendered.stderr).toBe(0);
    expect(check.stdout).toBe('');
    expect(check.code, check.stderr).toBe(0);
  });
});
