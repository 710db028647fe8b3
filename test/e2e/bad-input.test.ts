import { execFileSync } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importedVm } from './src/manifests.ts';
import { guestImage, type Platform, startPlatform } from './src/platform.ts';

/** `SLIPWAY_E2E_LONG=1`: further bad sources on the whole platform; all of them are tried with the data mover alone. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';

interface Conditioned {
  status?: {
    phase?: string;
    printableStatus?: string;
    conditions?: { type: string; status: string; reason?: string; message?: string }[];
  };
}

const conditionText = (object: Conditioned): string =>
  (object.status?.conditions ?? []).map((c) => `${c.type}=${c.status} ${c.reason ?? ''}: ${c.message ?? ''}`).join('\n');

const dataVolume = (name: string, url: string, extra: object = {}, size = '128Mi') => ({
  apiVersion: 'cdi.kubevirt.io/v1beta1',
  kind: 'DataVolume',
  metadata: { name, namespace: 'default', annotations: { 'cdi.kubevirt.io/storage.bind.immediate.requested': 'true' } },
  spec: { source: { http: { url, ...extra } }, storage: { resources: { requests: { storage: size } } } },
});

interface Answer {
  readonly status: number;
  readonly body: Buffer;
  readonly contentLength?: number;
  readonly stalls?: boolean;
  readonly location?: string;
}

const FURTHER: readonly [string, () => Answer, object, string, RegExp][] = [
  ['unauthorized', () => ({ status: 401, body: Buffer.alloc(0) }), {}, '128Mi', /401.*secretRef/],
  ['empty', () => ({ status: 200, body: Buffer.alloc(0) }), {}, '128Mi', /only 0 bytes/],
  ['inflated', () => ({ status: 200, body: gzipSync(Buffer.alloc(64 << 20)) }), {}, '16Mi', /larger PVC|too small/],
  [
    'wrapped',
    () => ({ status: 200, body: Buffer.concat([Buffer.from('PK\x03\x04'), Buffer.alloc(4096)]) }),
    {},
    '128Mi',
    /zip archive.*Unpack/,
  ],
  ['a-page', () => ({ status: 200, body: Buffer.from(`<!DOCTYPE html>${' '.repeat(4096)}`) }), {}, '128Mi', /web page.*login/],
];

describe('what goes wrong is said, and heals by itself when the cause goes away', () => {
  let platform: Platform;
  let server: Server;
  let base: string;
  let image: Buffer;
  /** Path → what to answer; tests change it while an import runs. */
  const answers = new Map<string, Answer>();

  beforeAll(async () => {
    image = readFileSync((await guestImage('tiny')).qcow2Path);
    server = createServer((request, response) => {
      const answer = answers.get((request.url ?? '').split('?')[0] ?? '');
      if (answer === undefined) {
        response.writeHead(404).end('nothing here');
        return;
      }
      response.writeHead(answer.status, {
        'Content-Length': answer.contentLength ?? answer.body.length,
        ...(answer.location !== undefined && { Location: answer.location }),
      });
      if (request.method === 'HEAD') response.end();
      else if (answer.contentLength === undefined) response.end(answer.body);
      else response.write(answer.body, () => answer.stalls !== true && response.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    base = `http://127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}`;
    platform = await startPlatform();
  });

  afterAll(async () => {
    server?.closeAllConnections();
    server?.close();
    await platform?.destroy();
  });

  it.each([
    ['a spelling mistake', { spec: { runStrateggy: 'Always' } }, /unknown field "spec.runStrateggy"/],
    ['an impossible run strategy', { spec: { runStrategy: 'Sometimes' } }, /spec\.(runStrategy|running)/],
  ])('refuses %s and names the field', async (_name, change, message) => {
    const vm = importedVm('refused', `${base}/x`) as { spec: object };
    const result = await platform.apply({ ...vm, spec: { ...vm.spec, ...change.spec } }).catch((error: Error) => error.message);
    expect(result).toMatch(message);
  });

  it('refuses a disk without a volume and names the path', async () => {
    const vm = importedVm('refused', `${base}/x`) as { spec: { template: { spec: { volumes: unknown[] } } } };
    vm.spec.template.spec.volumes = [];
    await expect(platform.apply(vm)).rejects.toThrow(/spec\.template\.spec\.domain\.devices\.disks\[0\]\.name/);
  });

  it('explains a missing DataSource on the VM and goes on when it appears', async () => {
    answers.set('/later.qcow2', { status: 200, body: image });
    const vm = importedVm('sourced', '') as { spec: { dataVolumeTemplates: { spec: object }[] } };
    const [template] = vm.spec.dataVolumeTemplates;
    if (template) {
      template.spec = {
        sourceRef: { kind: 'DataSource', name: 'nowhere', namespace: 'default' },
        storage: { resources: { requests: { storage: '128Mi' } } },
      };
    }
    await platform.apply(vm);
    const events = async () =>
      platform.kubectl('get', 'events', '-o', 'jsonpath={range .items[*]}{.reason} {.message}{"\\n"}{end}');
    await expect
      .poll(async () => conditionText(await platform.until<Conditioned>('vm sourced', () => true)) + (await events()), {
        timeout: 20_000,
      })
      .toMatch(/nowhere/);
    await platform.apply(dataVolume('golden', `${base}/later.qcow2`));
    await platform.apply({
      apiVersion: 'cdi.kubevirt.io/v1beta1',
      kind: 'DataSource',
      metadata: { name: 'nowhere', namespace: 'default' },
      spec: { source: { pvc: { name: 'golden', namespace: 'default' } } },
    });
    await platform.until<Conditioned>('vmi sourced', (vmi) => vmi.status?.phase === 'Running', 120_000);
    await platform.kubectl('delete', 'vm', 'sourced', '--timeout=60s');
  });

  it('retries a server that refuses, says what it answered, and succeeds when it recovers', async () => {
    answers.set('/flaky.qcow2', { status: 503, body: Buffer.from('try later') });
    await platform.apply(dataVolume('flaky', `${base}/flaky.qcow2`));
    await expect
      .poll(async () => conditionText(await platform.until<Conditioned>('dv flaky', () => true)), { timeout: 60_000 })
      .toMatch(/503/);
    answers.set('/flaky.qcow2', { status: 200, body: image });
    await platform.until<Conditioned>('dv flaky', (dv) => dv.status?.phase === 'Succeeded', 120_000);
  });

  /** An image of nothing but the name of another file. */
  const overlay = (): Buffer => {
    const [base, image] = [join(platform.dataDir, 'base.raw'), join(platform.dataDir, 'overlay.qcow2')];
    writeFileSync(base, Buffer.alloc(1 << 20));
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', base, image]);
    return readFileSync(image);
  };

  it.each<[string, () => Answer, object, string, RegExp]>([
    ['unreachable', () => ({ status: 404, body: Buffer.from('') }), {}, '128Mi', /404/],
    [
      'truncated',
      () => ({ status: 200, body: image.subarray(0, 1_000_000), contentLength: image.length }),
      {},
      '128Mi',
      /trunc|ended|incomplete|closed|terminated|bytes/i,
    ],
    [
      'corrupt',
      () => ({ status: 200, body: Buffer.concat([image.subarray(0, 65_536), Buffer.alloc(4_000_000, 0xa5)]) }),
      {},
      '128Mi',
      /corrupt|invalid|qcow2|image|convert/i,
    ],
    ['mismatched', () => ({ status: 200, body: image }), { checksum: `sha256:${'0'.repeat(64)}` }, '128Mi', /checksum/i],
    ['oversized', () => ({ status: 200, body: image }), {}, '16Mi', /larger|size|virtual/i],
    ['overlaid', () => ({ status: 200, body: overlay() }), {}, '128Mi', /backing file.*Flatten it/],
    [
      'misled',
      () => ({ status: 302, body: Buffer.alloc(0), location: 'http://169.254.169.254/latest/meta-data' }),
      ...([{}, '128Mi', /169\.254\.169\.254.*metadata addresses are refused/] as const),
    ],
    ...(isLong ? FURTHER : []),
  ])('an import of a source that is %s says so', async (name, answer, source, size, message) => {
    answers.set(`/${name}.qcow2`, answer());
    await platform.apply(dataVolume(name, `${base}/${name}.qcow2`, source, size));
    await expect
      .poll(async () => conditionText(await platform.until<Conditioned>(`dv ${name}`, () => true)), { timeout: 60_000 })
      .toMatch(message);
    const dv = await platform.until<Conditioned>(`dv ${name}`, () => true);
    expect(dv.status?.phase).not.toBe('Succeeded');
    await expect
      .poll(() => platform.kubectl('get', 'events', '--field-selector', `involvedObject.name=${name}`), { timeout: 60_000 })
      .toMatch(message);
    const volume = await platform.kubectl('get', 'pvc', name, '-o', 'jsonpath={.metadata.uid}');
    await platform.kubectl('delete', 'dv', name, '--timeout=60s');
    await platform.kubectl('wait', '--for=delete', `pvc/${name}`, '--timeout=60s');
    await expect.poll(volumes, { timeout: 60_000 }).not.toContain(volume);
  });

  /** Directories of all volumes. */
  const volumes = (): string[] => {
    const [node = ''] = readdirSync(join(platform.dataDir, 'nodes'));
    return readdirSync(join(platform.dataDir, 'nodes', node, 'volumes'));
  };

  it('never starts a VM on a disk that is not complete', async () => {
    answers.set('/half.qcow2', { status: 200, body: image.subarray(0, 1_000_000) });
    await platform.apply(importedVm('half', `${base}/half.qcow2`));
    await expect
      .poll(async () => conditionText(await platform.until<Conditioned>('dv half-root', () => true)), { timeout: 60_000 })
      .toMatch(/truncated or corrupt.*Publish the file again/);
    const { stdout } = await platform.tryKubectl('get', 'vmi', 'half', '-o', 'jsonpath={.status.phase}');
    expect(['', 'Pending', 'Scheduling']).toContain(stdout);
    await platform.kubectl('delete', 'vm', 'half', '--timeout=60s');
  });

  /** Processes of this platform that fetch from this address; those of earlier tests may still be ending. */
  const moverPids = (url: string): number[] =>
    readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry))
      .map(Number)
      .filter((pid) => {
        try {
          const [command = '', environment] = ['cmdline', 'environ'].map((file) => readFileSync(`/proc/${pid}/${file}`, 'utf8'));
          return command.includes(`\0${join(platform.dataDir, 'bin/mover.mjs')}\0`) && environment?.includes(`=${url}\0`);
        } catch {
          return false; // ended meanwhile
        }
      });

  it('goes on with a download that was killed, and says that it was', async () => {
    const path = '/killed.qcow2';
    answers.set(path, { status: 200, body: image.subarray(0, 500_000), contentLength: image.length, stalls: true });
    await platform.apply(dataVolume('killed', base + path));
    await expect.poll(() => moverPids(base + path), { timeout: 60_000 }).toHaveLength(1);
    for (const pid of moverPids(base + path)) process.kill(pid, 'SIGKILL');
    await expect
      .poll(async () => platform.kubectl('get', 'pods,dv', '-o', 'json'), { timeout: 60_000 })
      .toMatch(/The data mover was killed/);
    answers.set(path, { status: 200, body: image });
    server.closeAllConnections();
    await platform.until<Conditioned>('dv killed', (dv) => dv.status?.phase === 'Succeeded', 120_000);
  });

  it('says that the disk is full, and ends the import when there is space', async () => {
    const path = '/full.qcow2';
    answers.set(path, { status: 200, body: image.subarray(0, 500_000), contentLength: image.length, stalls: true });
    const [node = ''] = readdirSync(join(platform.dataDir, 'nodes'));
    const volumes = join(platform.dataDir, 'nodes', node, 'volumes');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=200m,mode=0711', 'tmpfs', volumes]);
    try {
      await platform.apply(dataVolume('full', base + path));
      await expect.poll(() => moverPids(base + path), { timeout: 60_000 }).toHaveLength(1);
      // somebody else takes what was free when the volume was made
      const filler = join(volumes, 'filler');
      execFileSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=1M', 'count=199'], { stdio: 'ignore' });
      answers.set(path, { status: 200, body: image });
      server.closeAllConnections();
      await expect
        .poll(async () => conditionText(await platform.until<Conditioned>('dv full', () => true)), { timeout: 60_000 })
        .toMatch(/no space left on device.*Free space or enlarge it/);
      rmSync(filler);
      await platform.until<Conditioned>('dv full', (dv) => dv.status?.phase === 'Succeeded', 120_000);
      await platform.kubectl('delete', 'dv', 'full', '--timeout=60s');
      await platform.kubectl('wait', '--for=delete', 'pvc/full', '--timeout=60s');
    } finally {
      execFileSync('umount', ['--lazy', volumes]);
    }
  });

  it('says that no volume fits, and makes it when there is space', async () => {
    answers.set('/large.qcow2', { status: 200, body: image });
    const [node = ''] = readdirSync(join(platform.dataDir, 'nodes'));
    const volumes = join(platform.dataDir, 'nodes', node, 'volumes');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=0711', 'tmpfs', volumes]);
    try {
      await platform.apply(dataVolume('large', `${base}/large.qcow2`));
      await expect
        .poll(async () => platform.kubectl('describe', 'pvc', 'large'), { timeout: 60_000 })
        .toMatch(/ProvisioningFailed.*asks for 128Mi, the file system of this node has .*request less/);
      execFileSync('mount', ['-o', 'remount,size=512m', volumes]);
      await platform.until<Conditioned>('dv large', (dv) => dv.status?.phase === 'Succeeded', 120_000);
      await platform.kubectl('delete', 'dv', 'large', '--timeout=60s');
      await platform.kubectl('wait', '--for=delete', 'pvc/large', '--timeout=60s');
    } finally {
      execFileSync('umount', ['--lazy', volumes]);
    }
  });

  it('names the way out of a busy port', async () => {
    const result = await platform.slipway('up', '--data-dir', '/tmp/sw-e2e-busy', '--listen', `127.0.0.1:${platform.port}`);
    expect(result.code).not.toBe(0);
    expect(result.stderr).toMatch(/in use.*--listen/);
  });
});
