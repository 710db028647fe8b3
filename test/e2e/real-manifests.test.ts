import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { gitRepository } from '@slipway/testkit';
import { guestImage, type Platform, ROOT, startPlatform } from './src/platform.ts';
import { openTerminal } from './src/terminal.ts';

const PASSWORD = 'a-password-of-the-test';
const IMAGES_NAMESPACE = 'openshift-virtualization-os-images';
const FIXTURES = ['rhel9', 'windows10', 'server2019'] as const;
/** `SLIPWAY_E2E_LONG=1` boots the full Debian guest with real cloud-init for rhel9; it takes minutes under TCG. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
/** A deadline for a guest that is emulated beside others on a loaded machine. */
const BOOT_MS = 420_000;

const fixture = (file: string): string => readFileSync(join(ROOT, 'test/e2e/fixtures', file), 'utf8');

/** The manifest byte for byte, but for the one Helm placeholder that it holds. */
const manifestOf = (name: string): string => fixture(`${name}.yaml`).replace('{{ $.Values.rhelRootPassword }}', PASSWORD);

/** The machines as a chart, and the chart of the Application that brings them. */
const APP = 'example-virtual-machines';
const CHART = `apiVersion: v2\nname: ${APP}\nversion: 1.0.0\n`;
const VALUES = `rhelRootPassword: ${PASSWORD}\n`;

const prerequisites = (url: string): object[] => [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: IMAGES_NAMESPACE } },
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'openshift-gitops' } },
  {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name: 'ocs-storagecluster-ceph-rbd-virtualization' },
    provisioner: 'local.slipway.dev',
    volumeBindingMode: 'WaitForFirstConsumer',
    reclaimPolicy: 'Delete',
    allowVolumeExpansion: true,
  },
  {
    apiVersion: 'k8s.cni.cncf.io/v1',
    kind: 'NetworkAttachmentDefinition',
    metadata: { name: 'vlan2003', namespace: 'default' },
    spec: { config: JSON.stringify({ cniVersion: '0.4.0', name: 'vlan2003', type: 'bridge', bridge: 'br-e2e2003', ipam: {} }) },
  },
  ...FIXTURES.flatMap((name) => [
    {
      apiVersion: 'cdi.kubevirt.io/v1beta1',
      kind: 'DataVolume',
      metadata: {
        name,
        namespace: IMAGES_NAMESPACE,
        annotations: { 'cdi.kubevirt.io/storage.bind.immediate.requested': 'true' },
      },
      spec: {
        source: { http: { url: `${url}/${name}.qcow2` } },
        storage: { storageClassName: 'local', resources: { requests: { storage: '2Gi' } } },
      },
    },
    {
      apiVersion: 'cdi.kubevirt.io/v1beta1',
      kind: 'DataSource',
      metadata: { name, namespace: IMAGES_NAMESPACE },
      spec: { source: { pvc: { name, namespace: IMAGES_NAMESPACE } } },
    },
  ]),
];

const withoutNulls = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_key, member: unknown) => (member === null ? undefined : member)));

interface Vmi {
  status?: {
    phase?: string;
    interfaces?: { name?: string; ipAddress?: string }[];
    conditions?: { type: string; status: string }[];
  };
}

interface App {
  status: {
    sync: { status: string };
    resources: { name: string; status: string; requiresPruning?: boolean }[];
  };
}

interface Vm {
  status?: { conditions?: { type: string; status: string; message?: string }[] };
}

const hasAgent = (vmi: Vmi): boolean =>
  vmi.status?.conditions?.some(({ type, status }) => type === 'AgentConnected' && status === 'True') ?? false;

describe('the manifests that users bring', () => {
  let platform: Platform;
  let images: ImageServer;
  const scratch = mkdtempSync('/tmp/sw-e2e-manifests-');
  // the server, which has no rights of its own, reads the repository
  chmodSync(scratch, 0o755);
  const repository = gitRepository(join(scratch, 'repository'));
  const templateOf = (name: string): string => `${APP}/templates/${name}.yaml`;
  const app = async (verb: string, ...args: string[]): Promise<string> => {
    const result = await platform.slipway('app', verb, APP, ...args);
    expect(result.code, `slipway app ${verb}: ${result.stdout}${result.stderr}`).toBe(0);
    return result.stdout;
  };
  const appNow = async (): Promise<App> => JSON.parse(await app('get', '--refresh', '-o', 'json'));

  beforeAll(async () => {
    const [rhel9, generic] = await Promise.all([guestImage(isLong ? 'debian' : 'tiny'), guestImage('tiny-generic')]);
    images = await serveImages({
      '/rhel9.qcow2': rhel9.qcow2Path,
      '/windows10.qcow2': generic.qcow2Path,
      '/server2019.qcow2': generic.qcow2Path,
    });
    platform = await startPlatform({ up: ['--allow-git-path', scratch] });
    for (const object of prerequisites(images.url)) await platform.apply(object);
    for (const name of FIXTURES)
      await platform.kubectl(
        'wait',
        '-n',
        IMAGES_NAMESPACE,
        `datavolume/${name}`,
        '--for=jsonpath={.status.phase}=Succeeded',
        '--timeout=180s',
      );
  });

  afterAll(async () => {
    rmSync(scratch, { recursive: true, force: true });
    await images?.close();
    await platform?.destroy();
  });

  // alone at first: its firmware and four processors have much to do on a machine that emulates them
  it('lets cloud-user log in on the serial console with the password of the manifest', { timeout: 900_000 }, async () => {
    repository.commit({ [`${APP}/Chart.yaml`]: CHART, [templateOf('rhel9')]: fixture('rhel9.yaml') });
    const chart = join(scratch, 'application');
    gitRepository(chart).commit({
      'Chart.yaml': CHART,
      'values.yaml': VALUES,
      'templates/app.yaml': fixture('application.yaml.tpl'),
    });
    const rendered = await platform.slipway('template', chart);
    expect(rendered.code, rendered.stderr).toBe(0);
    await platform.apply(rendered.stdout.replace(/repoURL: .*/, `repoURL: file://${repository.directory}`));
    expect((await appNow()).status.sync.status).toBe('OutOfSync');
    await app('sync');
    await platform.until<Vmi>('vmi example-rhel9', (vmi) => vmi.status?.phase === 'Running', 180_000);
    const console = openTerminal([`${ROOT}/slipway`, 'virt', 'console', 'example-rhel9'], {
      ...process.env,
      KUBECONFIG: platform.kubeconfig,
    });
    try {
      await console.expect(/Successfully connected/);
      console.type('\n');
      await console.expect(/login:/, BOOT_MS);
      // cloud-init sets the password after the first prompt may have appeared
      for (let attempt = 1; ; attempt++) {
        await console.answer('cloud-user', /[Pp]assword:/, 120_000);
        const output = await console.answer(PASSWORD, /[Ii]ncorrect[^]*login:|[$#] /, 120_000);
        if (!/[Ii]ncorrect/.test(output)) break;
        if (attempt > 10) throw new Error(`cloud-user was never let in:\n${output}`);
      }
      await console.answer('echo "I am $(id -un)"', /I am cloud-user/, 120_000);
    } finally {
      console.close();
    }
  });

  it('are Running together', { timeout: 600_000 }, async () => {
    const others = FIXTURES.filter((name) => name !== 'rhel9');
    repository.commit(Object.fromEntries(others.map((name) => [templateOf(name), fixture(`${name}.yaml`)])));
    const missing = await platform.slipway('app', 'diff', APP);
    expect(missing.code, missing.stderr).toBe(1);
    expect(missing.stdout).toContain('+  name: example-server2019');
    await app('sync');
    for (const name of FIXTURES)
      await platform.until<Vmi>(`vmi example-${name}`, (vmi) => vmi.status?.phase === 'Running', 180_000);
    const vms = await platform.kubectl('get', 'vm', '-o', 'jsonpath={.items[*].status.printableStatus}');
    expect(vms).toBe('Running Running Running');
  });

  it('are what git says, however often anybody asks', async () => {
    for (let round = 0; round < 3; round++) {
      const { status } = await appNow();
      expect(status.resources.map(({ name, status: sync }) => `${name} ${sync}`)).toEqual(
        [...FIXTURES].sort().map((name) => `example-${name} Synced`),
      );
      expect(status.sync.status).toBe('Synced');
    }
    expect(await app('diff')).toBe('');
  });

  it('may be applied by hand as well', async () => {
    for (const name of FIXTURES) await platform.apply(manifestOf(name));
  });

  it.each(FIXTURES)('%s: the stored spec is the sent spec and applying again changes nothing', async (name) => {
    const sent = parse(manifestOf(name)) as { spec: unknown };
    const version = async () => {
      const vm = JSON.parse(await platform.kubectl('get', 'vm', `example-${name}`, '-o', 'json'));
      // times that are null in templates are not kept
      expect(withoutNulls(vm.spec)).toEqual(withoutNulls(sent.spec));
      return vm.metadata.generation as number;
    };
    const generation = await version();
    // kubectl never sends the null times in server2019's list of disks, finds them missing, and says "configured" for ever
    expect(await platform.apply(manifestOf(name))).toMatch(name === 'server2019' ? /configured|unchanged/ : /unchanged/);
    expect(await version()).toBe(generation);
    // the first apply of the other kind brings the null times along, which the client-side one strips
    await platform.apply(manifestOf(name), '--server-side', '--force-conflicts');
    const appliedGeneration = await version();
    await platform.apply(manifestOf(name), '--server-side');
    expect(await version()).toBe(appliedGeneration);
    const file = join(scratch, `${name}.yaml`);
    writeFileSync(file, manifestOf(name));
    for (const side of [[], ['--server-side']]) {
      const diff = await platform.tryKubectl('diff', ...side, '-f', file);
      expect(diff.code, diff.stdout + diff.stderr).toBe(0);
    }
  });

  it('gives the Windows machines their second interface', async () => {
    for (const name of ['windows10', 'server2019']) {
      const vmi = await platform.until<Vmi>(`vmi example-${name}`, (object) => object.status?.interfaces?.length === 2);
      expect(vmi.status?.interfaces?.map((entry) => entry.name)).toEqual(['default', 'vlan2003']);
    }
  });

  it('show a change in git, get it, and say that it needs a restart', async () => {
    await app('sync'); // the Application's mark is not in what was applied by hand
    repository.commit({ [templateOf('rhel9')]: fixture('rhel9.yaml').replace('guest: 16Gi', 'guest: 12Gi') });
    const different = await platform.slipway('app', 'diff', APP);
    expect(different.code, different.stderr).toBe(1);
    expect(different.stdout).toMatch(/^-\s+guest: 16Gi\n\+\s+guest: 12Gi$/m);
    const before = await appNow();
    expect(before.status.resources.filter(({ status }) => status !== 'Synced').map(({ name }) => name)).toEqual([
      'example-rhel9',
    ]);
    await app('sync');
    expect((await appNow()).status.sync.status).toBe('Synced');
    const vm = await platform.until<Vm>('vm example-rhel9', ({ status }) =>
      (status?.conditions ?? []).some(({ type, status: is }) => type === 'RestartRequired' && is === 'True'),
    );
    const condition = vm.status?.conditions?.find(({ type }) => type === 'RestartRequired');
    expect(condition?.message).toContain('less than the guest booted with');
    expect((await appNow()).status.sync.status).toBe('Synced');
    expect(await app('history')).toMatch(/^3 /m);
  });

  it('go when their file goes', { timeout: 900_000 }, async () => {
    // a guest that has not booted does not hear the power button
    await platform.until<Vmi>('vmi example-windows10', hasAgent, BOOT_MS);
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

  it('are deleted without a rest', { timeout: 1_800_000 }, async () => {
    // a guest that has not booted does not hear the power button, and these have up to an hour to shut down
    const left = FIXTURES.filter((name) => name !== 'windows10');
    for (const name of left) await platform.until<Vmi>(`vmi example-${name}`, hasAgent, BOOT_MS);
    await platform.kubectl('delete', 'vm', ...left.map((name) => `example-${name}`), '--timeout=240s');
    await platform.kubectl('wait', '--for=delete', 'vmi', '--all', '--timeout=60s');
    expect(await platform.kubectl('get', 'pods,pvc', '-n', 'default', '-o', 'name')).toBe('');
  });
});
