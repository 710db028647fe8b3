import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import {
  CDIConfigKind,
  ConfigMapKind,
  EventKind,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodKind,
  SecretKind,
  type VirtualMachineInstance,
} from '@slipway/api';
import type { Client } from '@slipway/client';
import { InformerFactory, silentLogger, systemClock } from '@slipway/runtime';
import { built, type Built, MemoryCluster, pvc, storageClass, vmi } from '@slipway/testkit';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Sandbox } from '../contracts.ts';
import type { MoverRecord } from './mover-launcher.ts';
import { type NodeVolumes, nodeVolumes } from './volume-manager.ts';

const MiB = 1024 * 1024;
const UID_BASE = 2_340_000;
const POD = '11111111-1111-4111-8111-111111111111';
const SANDBOX: Sandbox = { podUid: POD, uid: UID_BASE + 7, netns: '', dir: '' };

let root: string;
let bundle: string;
let server: Server;
let registry: string;
const files = new Map<string, { body: Buffer; delayMs?: number }>();

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'slipvol-'));
  chmodSync(root, 0o711);
  bundle = join(root, 'mover.mjs');
  const contents = [
    'import { moverProcess } ',
    "from '@slipway/cdi'; await moverProcess(process.argv.slice(2), process.env);",
  ].join('');
  await build({
    stdin: { contents, resolveDir: import.meta.dirname },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    outfile: bundle,
    banner: { js: "import { createRequire as r } from 'node:module'; const require = r(import.meta.url);" },
  });
  chmodSync(bundle, 0o644);
  server = createServer((request, response) => {
    const file = files.get(new URL(request.url ?? '/', 'http://x').pathname);
    if (file === undefined) return void response.writeHead(404).end();
    const etag = `"${createHash('sha1').update(file.body).digest('hex')}"`;
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const head = {
      ETag: etag,
      'Content-Length': file.body.length - start,
      ...(start > 0 && { 'Content-Range': `bytes ${start}-${file.body.length - 1}/${file.body.length}` }),
    };
    response.writeHead(start > 0 ? 206 : 200, head);
    const send = (from: number): void => {
      if (from >= file.body.length) return void response.end();
      const next = Math.min(file.body.length, from + MiB);
      response.write(file.body.subarray(from, next));
      setTimeout(() => send(next), file.delayMs ?? 0);
    };
    send(start);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  registry = `127.0.0.1:${(server.address() as AddressInfo).port}`; // listens on TCP
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(root, { recursive: true, force: true });
});

let client: Client;
let stop: AbortController;
let stateDir: string;
let volumes: NodeVolumes;
let running: Promise<void>[];

/** An agent on the present state; `stop.abort()` is its crash. */
function startAgent(): void {
  stop = new AbortController();
  const informers = new InformerFactory({ client, clock: systemClock, random: Math.random, log: silentLogger });
  volumes = nodeVolumes({
    config: { nodeName: 'node1', hostPrefix: 'slipv0', stateDir, podCidrV4: '', podCidrV6: '', uidBase: UID_BASE },
    client,
    informers,
    clock: systemClock,
    random: Math.random,
    log: silentLogger,
    moverProgram: [process.execPath, bundle],
    allowedImportAddresses: ['127.0.0.0/8'],
    serviceAccountToken: () => Promise.resolve('token'),
  });
  informers.start(stop.signal);
  running = [volumes.manager.run(stop.signal)];
}

beforeEach(async () => {
  stateDir = mkdtempSync(join(root, 's'));
  chmodSync(stateDir, 0o711);
  client = new MemoryCluster(systemClock).client();
  await create(storageClass('local'));
  await create(built(CDIConfigKind, 'config', { spec: { insecureRegistries: [registry] } }));
  startAgent();
});
afterEach(async () => {
  stop.abort();
  await Promise.all(running);
});

const create = async ({ kind, object }: Built): Promise<void> => void (await client.create(kind, object));

async function until<T>(read: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const value = await read();
    if (value !== undefined) return value;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A claim with its volume, bound as the cluster's controller would. */
async function boundClaim(path: string, size = '8Mi', annotations: Record<string, string> = {}): Promise<PersistentVolumeClaim> {
  const [namespace = '', name = ''] = path.split('/');
  const meta = { annotations: { 'volume.kubernetes.io/selected-node': 'node1', ...annotations } };
  await create(
    pvc(path, {
      metadata: { name, namespace, ...meta },
      spec: { storageClassName: 'local', resources: { requests: { storage: size } } },
    }),
  );
  const made = await client.get(PersistentVolumeClaimKind, { namespace, name });
  const pvName = `pvc-${made.metadata.uid}`;
  await until(() => client.get(PersistentVolumeKind, { namespace: '', name: pvName }).catch(() => undefined));
  await client.patch(PersistentVolumeClaimKind, { namespace, name }, { spec: { volumeName: pvName } }, { type: 'merge' });
  return client.patch(
    PersistentVolumeClaimKind,
    { namespace, name },
    { status: { phase: 'Bound' } },
    { type: 'merge', subresource: 'status' },
  );
}

const diskOf = (claim: PersistentVolumeClaim): string => join(stateDir, 'volumes', claim.metadata.uid ?? '', 'disk.img');
const recordOf = (claim: PersistentVolumeClaim): object =>
  JSON.parse(readFileSync(join(stateDir, 'volumes', claim.metadata.uid ?? '', 'volume.json'), 'utf8')) as object;

async function importerPod(claimName: string, env: Record<string, string>): Promise<Pod> {
  const spec = {
    restartPolicy: 'OnFailure',
    containers: [
      { name: 'importer', image: 'slipway/cdi-importer', env: Object.entries(env).map(([name, value]) => ({ name, value })) },
    ],
    volumes: [{ name: 'data', persistentVolumeClaim: { claimName } }],
  };
  return client.create(PodKind, built(PodKind, `a/importer-${claimName}`, { spec }).object as Pod);
}

const podPhase = (pod: Pod, phase: string): Promise<Pod> =>
  until(async () => {
    const found = await client.get(PodKind, { namespace: 'a', name: pod.metadata.name ?? '' });
    return found.status?.phase === phase ? found : undefined;
  });

const runner = () => volumes.podRunners[0] ?? expect.fail('no runner');
const endpoint = (path: string) => ({ IMPORTER_SOURCE: 'http', IMPORTER_ENDPOINT: `http://${registry}${path}` });
const asUser = (uid: number, ...command: string[]): string =>
  execFileSync('setpriv', [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', ...command], {
    encoding: 'utf8',
    stdio: 'pipe',
  });

describe('volumes of a node', () => {
  it('fills a claim by an unprivileged mover', async () => {
    const disk = Buffer.concat([randomBytes(2 * MiB), Buffer.alloc(4 * MiB), randomBytes(MiB)]);
    files.set('/disk', { body: gzipSync(disk) });
    const claim = await boundClaim('a/disk');
    const pod = await importerPod('disk', endpoint('/disk'));

    await runner().sync(pod, stop.signal);
    const ended = await podPhase(pod, 'Succeeded');

    expect(ended.status?.containerStatuses?.[0]?.state?.terminated).toMatchObject({
      exitCode: 0,
      message: expect.stringContaining('Import Complete'),
    });
    expect(readFileSync(diskOf(claim)).subarray(0, disk.length).equals(disk)).toBe(true);
    expect(lstatSync(diskOf(claim)).size).toBe(8 * MiB);
    expect(recordOf(claim)).toEqual({ format: 'raw', virtualSizeBytes: 8 * MiB, chain: [], state: 'ready' });
    await runner().terminate(ended, stop.signal);
    expect(readdirSync(join(stateDir, 'movers'))).toEqual([]);
    await expect(client.get(PodKind, { namespace: 'a', name: 'importer-disk' })).rejects.toThrow('not found');
  });

  it('goes on after a failure when its cause is gone, and after kill -9 of the mover', async () => {
    const disk = randomBytes(64 * MiB);
    const claim = await boundClaim('a/disk', '64Mi');
    const pod = await importerPod('disk', endpoint('/later'));
    files.delete('/later');
    await runner().sync(pod, stop.signal);
    const waiting = await until(async () => {
      const { status } = await client.get(PodKind, { namespace: 'a', name: 'importer-disk' });
      return status?.containerStatuses?.[0]?.lastState?.terminated?.message;
    });
    expect(waiting).toContain('got 404');

    files.set('/later', { body: disk, delayMs: 15 });
    const file = join(stateDir, 'movers', pod.metadata.uid ?? '', 'mover.json');
    const journal = join(stateDir, 'volumes', claim.metadata.uid ?? '', 'import', 'position.json');
    await until(async () => (existsNow(journal) ? true : undefined));
    const { process: victim } = JSON.parse(readFileSync(file, 'utf8')) as MoverRecord;
    process.kill(victim?.pid ?? 0, 'SIGKILL');

    const ended = await podPhase(pod, 'Succeeded');
    expect(readFileSync(diskOf(claim)).equals(disk)).toBe(true);
    expect(ended.status?.containerStatuses?.[0]?.restartCount).toBeGreaterThanOrEqual(2);
  });

  it('finds a running mover again after the agent was restarted', async () => {
    const disk = randomBytes(32 * MiB);
    files.set('/slow', { body: disk, delayMs: 30 });
    const claim = await boundClaim('a/disk', '32Mi');
    const pod = await importerPod('disk', endpoint('/slow'));
    await runner().sync(pod, stop.signal);
    await podPhase(pod, 'Running');
    const file = join(stateDir, 'movers', pod.metadata.uid ?? '', 'mover.json');
    const before = JSON.parse(readFileSync(file, 'utf8')) as MoverRecord;

    stop.abort();
    await Promise.all(running);
    startAgent();
    await runner().sync(pod, stop.signal);
    await podPhase(pod, 'Succeeded');

    expect((JSON.parse(readFileSync(file, 'utf8')) as MoverRecord).process).toEqual(before.process);
    expect(readFileSync(diskOf(claim)).equals(disk)).toBe(true);
  });

  it('gives a disk to one sandbox alone, and takes it back', async () => {
    const claim = await boundClaim('a/disk');
    const [disk] = await prepare({ name: 'root', persistentVolumeClaim: { claimName: 'disk' } });

    expect(disk).toMatchObject({
      path: diskOf(claim),
      format: 'raw',
      sizeBytes: 8 * MiB,
      readOnly: false,
      claim: { claimName: 'disk' },
    });
    asUser(SANDBOX.uid, 'dd', 'if=/dev/zero', `of=${disk?.path}`, 'bs=512', 'count=1', 'conv=notrunc', 'status=none');
    expect(() => asUser(SANDBOX.uid + 1, 'head', '-c1', disk?.path ?? '')).toThrow('Permission denied');

    const other = '22222222-2222-4222-8222-222222222222';
    const again = () => prepare({ name: 'root', persistentVolumeClaim: { claimName: 'disk' } }, { ...SANDBOX, podUid: other });
    await volumes.manager.release(POD);
    expect(() => asUser(SANDBOX.uid, 'head', '-c1', disk?.path ?? '')).toThrow('Permission denied');
    await again();
  });

  it('does not hand out the disk of an import that has not ended', async () => {
    await boundClaim('a/disk', '8Mi', { 'cdi.kubevirt.io/storage.import.source': 'http' });
    const volume = { name: 'root', persistentVolumeClaim: { claimName: 'disk' } };
    await expect(prepare(volume)).rejects.toThrow('still being filled');
    const metadata = { annotations: { 'cdi.kubevirt.io/storage.pod.phase': 'Succeeded' } };
    await client.patch(PersistentVolumeClaimKind, { namespace: 'a', name: 'disk' }, { metadata }, { type: 'merge' });
    await expect(prepare(volume)).resolves.toHaveLength(1);
  });

  it('lets one pod write at a time', async () => {
    await boundClaim('a/disk');
    const first = await client.create(PodKind, built(PodKind, 'a/first', { spec: {} }).object as Pod);
    const volume = { name: 'root', persistentVolumeClaim: { claimName: 'disk' } };
    const holder = { ...SANDBOX, podUid: first.metadata.uid ?? '' };
    // until the agent's cache knows the pod, its hold counts for nothing
    await until(async () => {
      await prepare(volume, holder);
      return (await prepare(volume).catch(() => 'refused')) === 'refused' ? true : undefined;
    });
    await expect(prepare(volume)).rejects.toThrow('Volume is already used by virtual machine instance');
    await volumes.manager.release(first.metadata.uid ?? '');
    await prepare(volume);
  });

  it('clones in constant time, and neither side sees what the other writes', async () => {
    const golden = await boundClaim('images/golden', '64Mi');
    const content = randomBytes(64 * MiB);
    writeFileSync(diskOf(golden), content);
    const clone = await boundClaim('images/copy', '128Mi', { 'k8s.io/CloneRequest': 'images/golden' });
    const second = await boundClaim('images/copy2', '128Mi', { 'k8s.io/CloneRequest': 'images/copy' });

    const read = (claim: PersistentVolumeClaim): Buffer => {
      const { format } = recordOf(claim) as { format: string };
      const out = join(stateDir, 'out.raw');
      execFileSync('qemu-img', ['convert', '-f', format, '-O', 'raw', diskOf(claim), out]);
      return readFileSync(out).subarray(0, 64 * MiB);
    };
    for (const claim of [golden, clone, second]) expect(read(claim).equals(content)).toBe(true);

    // the golden image is given to a VM, which writes: it gets an overlay of its own
    const [disk] = await prepare({ name: 'root', persistentVolumeClaim: { claimName: 'golden' } }, SANDBOX, 'images');
    execFileSync('qemu-io', ['-f', disk?.format ?? '', '-c', 'write -P 7 0 64k', disk?.path ?? '']);
    expect(read(clone).equals(content)).toBe(true);
    expect(read(second).equals(content)).toBe(true);
    expect(read(golden).equals(content)).toBe(false);
  });

  it('does not clone from another namespace without a grant', async () => {
    await boundClaim('images/golden');
    const meta = { annotations: { 'volume.kubernetes.io/selected-node': 'node1', 'k8s.io/CloneRequest': 'images/golden' } };
    await create(pvc('a/thief', { metadata: { name: 'thief', namespace: 'a', ...meta }, spec: { storageClassName: 'local' } }));
    const refusal = await until(async () => {
      const { items } = await client.list(EventKind, { namespace: 'a' });
      return items.find(({ reason }) => reason === 'CloneNotAllowed');
    });
    expect(refusal.message).toContain('Nobody allowed a clone of images/golden');
    const thief = await client.get(PersistentVolumeClaimKind, { namespace: 'a', name: 'thief' });
    await expect(client.get(PersistentVolumeKind, { namespace: '', name: `pvc-${thief.metadata.uid}` })).rejects.toThrow(
      'not found',
    );
  });

  it('grows a claim', async () => {
    const claim = await boundClaim('a/disk', '8Mi');
    await client.patch(
      PersistentVolumeClaimKind,
      { namespace: 'a', name: 'disk' },
      { spec: { resources: { requests: { storage: '16Mi' } } } },
      { type: 'merge' },
    );
    await until(async () => {
      const { spec } = await client.get(PersistentVolumeKind, { namespace: '', name: `pvc-${claim.metadata.uid}` });
      return spec?.capacity?.['storage'] === '16Mi' ? true : undefined;
    });
    expect(lstatSync(diskOf(claim)).size).toBe(16 * MiB);
  });

  it('removes the directory of a released volume', async () => {
    const claim = await boundClaim('a/disk');
    const name = `pvc-${claim.metadata.uid}`;
    await client.patch(
      PersistentVolumeKind,
      { namespace: '', name },
      { status: { phase: 'Released' } },
      { type: 'merge', subresource: 'status' },
    );
    await until(async () => (readdirSync(join(stateDir, 'volumes')).length === 0 ? true : undefined));
    const isGone = await until(() =>
      client.get(PersistentVolumeKind, { namespace: '', name }).then(
        () => undefined,
        () => true,
      ),
    );
    expect(isGone).toBe(true);
  });

  it('makes emptyDisk and cloud-init disks that the sandbox can read', async () => {
    const [empty, seed] = await prepare([
      { name: 'scratch', emptyDisk: { capacity: '4Mi' } },
      { name: 'seed', cloudInitNoCloud: { userData: '#cloud-config\n{}' } },
    ]);
    expect(empty).toMatchObject({ sizeBytes: 4 * MiB, readOnly: false });
    // storage with sectors of 4 KiB refuses direct I/O to anything else
    expect([(seed?.sizeBytes ?? 1) % 4096, lstatSync(seed?.path ?? '').size]).toEqual([0, seed?.sizeBytes]);
    expect(asUser(SANDBOX.uid, 'dd', `if=${seed?.path}`, 'bs=1', 'skip=32769', 'count=5', 'status=none')).toBe('CD001');
    expect(() => asUser(SANDBOX.uid + 1, 'head', '-c1', seed?.path ?? '')).toThrow('Permission denied');
  });

  it('pulls a containerDisk once and puts an overlay on it', async () => {
    const disk = join(stateDir, 'disk.raw');
    writeFileSync(disk, randomBytes(MiB));
    truncateSync(disk, 4 * MiB);
    serveImage(readFileSync(disk));
    const volume = { name: 'root', containerDisk: { image: `${registry}/demo/tiny:1` } };

    const [prepared] = await prepare(volume);

    expect(prepared).toMatchObject({ format: 'qcow2', sizeBytes: 4 * MiB });
    const out = join(stateDir, 'out.raw');
    execFileSync('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', prepared?.path ?? '', out]);
    expect(readFileSync(out).equals(readFileSync(disk))).toBe(true);
    files.clear();
    await prepare(volume, { ...SANDBOX, podUid: '33333333-3333-4333-8333-333333333333' });
    await expect(prepare({ name: 'root', containerDisk: { image: `${registry}/demo/other:1` } })).rejects.toThrow('404');
  });
});

describe('files of a guest', () => {
  const OTHER: Sandbox = { ...SANDBOX, podUid: '44444444-4444-4444-8444-444444444444', uid: UID_BASE + 8 };
  const share = (name: string): object => ({ domain: { devices: { filesystems: [{ name, virtiofs: {} }] } } });

  it('takes the licence table of the firmware from a Secret', async () => {
    await create(built(SecretKind, 'a/licence', { data: { 'slic.bin': btoa('SLIC'), other: btoa('x') } }));
    await create(built(SecretKind, 'a/empty', { data: {} }));
    const spec = (secretName: string) => ({
      domain: { devices: {}, firmware: { acpi: { slicNameRef: 'licence' } } },
      volumes: [{ name: 'licence', secret: { secretName } }],
    });
    const path = (await prepareFiles(spec('licence'))).acpiTables?.slic ?? '';
    expect(asUser(SANDBOX.uid, 'cat', path)).toBe('SLIC');
    expect(readdirSync(dirname(path))).toEqual(['slic.bin']);
    await expect(prepareFiles(spec('empty'))).rejects.toThrow(/no key slic.bin/);
  });

  it('shares a ConfigMap to read, and takes away what is gone from it', async () => {
    const settings = (data: Record<string, string>) => built(ConfigMapKind, 'a/settings', { data });
    await create(settings({ one: '1', two: '2' }));
    const spec = { ...share('conf'), volumes: [{ name: 'conf', configMap: { name: 'settings' } }] };
    const path = (await prepareFiles(spec)).shares[0]?.path ?? '';
    expect(readdirSync(path).sort()).toEqual(['one', 'two']);
    expect(asUser(SANDBOX.uid, 'cat', join(path, 'one'))).toBe('1');
    expect(() => asUser(SANDBOX.uid, 'touch', join(path, 'own'))).toThrow(/Permission denied/);
    expect(() => asUser(OTHER.uid, 'ls', path)).toThrow(/Permission denied/);
    await client.update(ConfigMapKind, settings({ one: 'changed' }).object);
    await prepareFiles(spec);
    expect(readdirSync(path)).toEqual(['one']);
    expect(readFileSync(join(path, 'one'), 'utf8')).toBe('changed');
  });

  it('keeps the files of a claim for the next pod, whose user owns them', async () => {
    await boundClaim('a/data');
    const spec = { ...share('data'), volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }] };
    const path = (await prepareFiles(spec)).shares[0]?.path ?? '';
    asUser(SANDBOX.uid, 'sh', '-c', `mkdir ${path}/d; echo kept > ${path}/d/f; ln -s /etc/passwd ${path}/link`);
    await volumes.manager.release(POD);
    expect((await prepareFiles(spec, OTHER)).shares[0]?.path).toBe(path);
    expect(asUser(OTHER.uid, 'cat', join(path, 'd/f'))).toBe('kept\n');
    expect(lstatSync(join(path, 'link')).uid).toBe(OTHER.uid);
    expect(lstatSync('/etc/passwd').uid).toBe(0);
  });

  it('finds the state of firmware by the claim of its pod', async () => {
    const claim = await boundClaim('a/state');
    const { statePath } = await prepareFiles({}, SANDBOX, [{ name: 'vm-state', persistentVolumeClaim: { claimName: 'state' } }]);
    expect(statePath).toBe(join(stateDir, 'volumes', claim.metadata.uid ?? '', 'files'));
  });

  it('fetches kernel and initial file system from an image', async () => {
    const directory = mkdtempSync(join(root, 'boot'));
    execFileSync('mkdir', [join(directory, 'boot')]);
    for (const name of ['vmlinuz', 'initrd']) writeFileSync(join(directory, 'boot', name), `${name} of the image`);
    serveLayer('boot/files', gzipSync(execFileSync('tar', ['cC', directory, 'boot'])));
    const container = { image: `${registry}/boot/files:1`, kernelPath: '/boot/vmlinuz', initrdPath: '/boot/initrd' };
    const boots = (more: object) => ({
      domain: { devices: {}, firmware: { kernelBoot: { container: { ...container, ...more } } } },
    });
    const { kernelBoot } = await prepareFiles(boots({}));
    expect(asUser(SANDBOX.uid, 'cat', kernelBoot?.kernel ?? '')).toBe('vmlinuz of the image');
    expect(asUser(SANDBOX.uid, 'cat', kernelBoot?.initrd ?? '')).toBe('initrd of the image');
    expect(() => asUser(SANDBOX.uid, 'sh', '-c', `echo x > ${kernelBoot?.kernel}`)).toThrow(/Permission denied/);
    await expect(prepareFiles(boots({ kernelPath: '/boot/other' }), OTHER)).rejects.toThrow('has no file /boot/other');
  });
});

function prepareFiles(spec: object, sandbox = SANDBOX, podVolumes: object[] = []) {
  const instance = vmi('a/vm', { spec: { domain: { devices: {} }, ...spec } as VirtualMachineInstance['spec'] }).object;
  const metadata = { name: 'launcher', namespace: 'a', uid: sandbox.podUid };
  const pod = built(PodKind, 'a/launcher', { metadata, spec: { volumes: podVolumes } }).object as Pod;
  return volumes.manager.prepareFiles(instance, pod, sandbox, stop.signal);
}

function existsNow(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function prepare(volume: object | object[], sandbox = SANDBOX, namespace = 'a') {
  const list = Array.isArray(volume) ? volume : [volume];
  const instance = vmi(`${namespace}/vm`, { spec: { volumes: list } as VirtualMachineInstance['spec'] }).object;
  const pod = built(PodKind, `${namespace}/launcher`, {
    metadata: { name: 'launcher', namespace, uid: sandbox.podUid },
    spec: {},
  }).object as Pod;
  return volumes.manager.prepare(instance, pod, sandbox, stop.signal);
}

/** An image of one layer in the registry. */
function serveImage(disk: Buffer): void {
  const directory = mkdtempSync(join(root, 'image'));
  execFileSync('mkdir', [join(directory, 'disk')]);
  writeFileSync(join(directory, 'disk', 'downloaded'), disk);
  serveLayer('demo/tiny', gzipSync(execFileSync('tar', ['cC', directory, 'disk'], { maxBuffer: 64 * MiB })));
}

function serveLayer(name: string, layer: Buffer): void {
  const digest = (data: Buffer): string => `sha256:${createHash('sha256').update(data).digest('hex')}`;
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, layers: [{ digest: digest(layer), size: layer.length }] }));
  const index = Buffer.from(
    JSON.stringify({
      manifests: [{ digest: digest(manifest), size: manifest.length, platform: { architecture: 'amd64', os: 'linux' } }],
    }),
  );
  files.set(`/v2/${name}/manifests/1`, { body: index });
  files.set(`/v2/${name}/manifests/${digest(manifest)}`, { body: manifest });
  files.set(`/v2/${name}/blobs/${digest(layer)}`, { body: layer });
}
