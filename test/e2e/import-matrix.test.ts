// Every source, format and volume mode: the disk that comes out is the disk that went in, byte for byte.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ObjectStore, startGcs, startS3 } from '@slipway/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sparseDisk, writeFormats, writeTree } from './src/disk-formats.ts';
import { HEADERS, type ImageServers, LOGIN, startImageServers } from './src/image-servers.ts';
import { type Platform, startPlatform } from './src/platform.ts';
import { diskLayer, pushImage, writeImageArchives } from './src/push-image.ts';

/** `SLIPWAY_E2E_LONG=1`: every format from every source; else every format from one of them, and every source. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const PATIENCE_MS = 120_000;
/** Imports at a time: each is a process of its own. */
const WAVE = 8;
const KEY = { keyId: 'AKIDEXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };
const S3_REGION = 'eu-central-1';

const FORMATS = [
  ...['disk.raw', 'disk.qcow2', 'packed.qcow2', 'zstd.qcow2', 'old.qcow2', 'disk.vmdk', 'stream.vmdk', 'disk.vdi', 'disk.vhd'],
  ...['disk.vhdx', 'disk.raw.gz', 'disk.raw.xz', 'disk.raw.zst', 'disk.raw.bz2', 'disk.qcow2.gz', 'disk.qcow2.xz'],
  ...['vmware.ova', 'rhv.ova', 'image.tar', 'docker.tar.gz', 'disc.iso', 'odd.raw'],
] as const;
const SOME_FORMATS = ['disk.raw', 'disk.raw.gz', 'disk.qcow2'] as const;

interface Servers extends ImageServers {
  readonly s3: ObjectStore;
  readonly gcs: ObjectStore;
}

/** One DataVolume. */
interface Case {
  readonly name: string;
  readonly source: (servers: Servers) => object;
  /** File that holds the disk as it was; a directory for an archive, nothing for a disk of zeros. */
  readonly original?: string;
  readonly spec?: object;
  readonly namespace?: string;
  readonly volumeMode?: 'Filesystem' | 'Block';
}

const nameOf = (...parts: readonly string[]): string => parts.join('-').replaceAll(/[^a-z0-9-]/g, '-');
const originalOf = (file: string): string => (/^(disc\.iso|odd\.raw)$/.test(file) ? file : 'disk.raw');

/** A source of files: which file is which there. */
const fromFile = (kind: string, files: readonly string[], source: (servers: Servers, file: string) => object): Case[] =>
  files.map((file) => ({
    name: nameOf(kind, file),
    source: (servers) => source(servers, file),
    original: originalOf(file),
  }));

const http = (url: string, extra: object = {}) => ({ http: { url, ...extra } });
const someOrAll = isLong ? FORMATS : SOME_FORMATS;
const sha = (algorithm: string, servers: Servers, file: string): string =>
  `${algorithm}:${createHash(algorithm)
    .update(readFileSync(join(servers.filesDir, file)))
    .digest('hex')}`;

const SOURCES: readonly Case[] = [
  ...fromFile('http', FORMATS, (servers, file) => http(`${servers.http}/${file}`)),
  ...fromFile('basic', ['disk.qcow2'], ({ http: url }, file) => http(`${url}/basic/${file}`, { secretRef: 'login' })),
  ...fromFile('headers', ['disk.raw'], ({ http: url }, file) =>
    http(`${url}/headers/${file}`, { extraHeaders: [HEADERS.plain], secretExtraHeaders: ['headers'] }),
  ),
  ...fromFile('moved', ['disk.raw.gz'], ({ http: url }, file) => http(`${url}/moved/${file}`)),
  ...fromFile('whole', ['disk.qcow2'], ({ http: url }, file) => http(`${url}/whole/${file}`)),
  ...fromFile('tls', ['disk.raw'], ({ https }, file) => http(`${https}/${file}`, { certConfigMap: 'ca' })),
  ...fromFile('unverified', ['disk.raw'], ({ https }, file) => http(`${https}/${file}`, { insecureSkipVerify: true })),
  ...(isLong ? ['md5', 'sha1', 'sha256', 'sha512'] : ['sha256']).flatMap((algorithm) =>
    fromFile(algorithm, ['disk.raw.xz'], (servers, file) =>
      http(`${servers.http}/${file}`, { checksum: sha(algorithm, servers, file) }),
    ),
  ),
  ...fromFile('s3', someOrAll, ({ s3 }, file) => ({ s3: { url: `${s3.url}/images/${file}`, secretRef: 's3-key' } })),
  ...fromFile('gcs', someOrAll, ({ gcs }, file) => ({ gcs: { url: `${gcs.url}/images/${file}`, secretRef: 'gcs-key' } })),
  ...fromFile('oci', someOrAll, ({ registry }, file) => ({ registry: { url: `docker://${registry}/oci/${nameOf(file)}` } })),
  ...fromFile('docker', ['disk.qcow2'], ({ registry }, file) => ({
    registry: { url: `docker://${registry}/docker/${nameOf(file)}` },
  })),
  ...fromFile('login', ['disk.raw'], ({ secureRegistry: host }, file) => ({
    registry: { url: `docker://${host}/oci/${nameOf(file)}`, secretRef: 'login', certConfigMap: 'ca' },
  })),
  ...fromFile('pullsecret', ['disk.raw'], ({ secureRegistry: host }, file) => ({
    registry: { url: `docker://${host}/oci/${nameOf(file)}`, secretRef: 'pull', certConfigMap: 'ca', pullMethod: 'node' },
  })),
  {
    name: 'platform',
    source: ({ registry }) => ({ registry: { url: `docker://${registry}/many`, platform: { architecture: 'arm64' } } }),
    original: 'odd.raw',
  },
  { name: 'blank', source: () => ({ blank: {} }) },
  {
    name: 'preallocated',
    source: (servers) => http(`${servers.http}/disk.raw`),
    original: 'disk.raw',
    spec: { preallocation: true },
  },
];
const ARCHIVES: readonly Case[] = ['tree.tar', 'tree.tar.gz'].map((file) => ({
  name: nameOf('http', file),
  source: (servers) => http(`${servers.http}/${file}`),
  original: 'tree',
  spec: { contentType: 'archive' },
}));
/** Made when their sources are complete. */
const COPIES: readonly Case[] = [
  { name: 'clone', source: () => ({ pvc: { namespace: 'default', name: 'http-disk-qcow2' } }), original: 'disk.raw' },
  {
    name: 'clone-elsewhere',
    namespace: 'elsewhere',
    source: () => ({ pvc: { namespace: 'default', name: 'http-disk-raw' } }),
    original: 'disk.raw',
  },
  {
    name: 'clone-block',
    source: () => ({ pvc: { namespace: 'default', name: 'block-http-disk-raw' } }),
    original: 'disk.raw',
    volumeMode: 'Block',
  },
  { name: 'clone-snapshot', source: () => ({ snapshot: { namespace: 'default', name: 'snapshot' } }), original: 'disk.raw' },
];
/** Those of volume mode Block: every way to write a disk, or all of them. */
const AS_BLOCK =
  /^(http-(disk-raw|disk-raw-gz|disk-qcow2|stream-vmdk|vmware-ova|odd-raw|image-tar)|s3-disk-raw|oci-disk-qcow2|blank|preallocated)$/;
const asBlock = (cases: readonly Case[]): Case[] =>
  cases.map((item) => ({ ...item, name: `block-${item.name}`, volumeMode: 'Block' as const }));
const BLOCK = asBlock(SOURCES.filter(({ name }) => isLong || AS_BLOCK.test(name)));
const IMPORTS = [...SOURCES, ...BLOCK, ...ARCHIVES];
const UPLOADS = isLong
  ? FORMATS.flatMap((file) => (['Filesystem', 'Block'] as const).map((volumeMode) => ({ file, volumeMode })))
  : ([
      { file: 'disk.raw', volumeMode: 'Filesystem' },
      { file: 'disk.qcow2.gz', volumeMode: 'Block' },
    ] as const);

interface DataVolume {
  readonly metadata: { readonly name: string };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly { readonly type: string; readonly message?: string }[];
  };
}

describe('a disk', () => {
  let platform: Platform;
  let servers: Servers;
  let dir: string;
  const ended = new Map<string, DataVolume>();
  const uids = new Map<string, string>();

  const manifest = ({ name, namespace = 'default', source, spec = {}, volumeMode = 'Filesystem' }: Case): object => ({
    apiVersion: 'cdi.kubevirt.io/v1beta1',
    kind: 'DataVolume',
    metadata: { name, namespace, annotations: { 'cdi.kubevirt.io/storage.bind.immediate.requested': '' } },
    spec: { source: source(servers), storage: { volumeMode, resources: { requests: { storage: '16Mi' } } }, ...spec },
  });
  const list = (items: readonly object[]): object => ({ apiVersion: 'v1', kind: 'List', items });

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'sw-matrix-'));
    const images = await startImageServers(dir);
    servers = { ...images, s3: await startS3({ region: S3_REGION, ...KEY }), gcs: await startGcs() };
    writeFormats(images.filesDir, sparseDisk(1));
    writeFileSync(join(images.filesDir, 'odd.raw'), sparseDisk(2, 5_000_001));
    writeTree(images.filesDir);
    writeImageArchives(images.filesDir);
    await publish();
    platform = await startPlatform();
    await configure();
    for (let at = 0; at < IMPORTS.length; at += WAVE) await fill(IMPORTS.slice(at, at + WAVE));
    await platform.apply({
      apiVersion: 'snapshot.storage.k8s.io/v1',
      kind: 'VolumeSnapshot',
      metadata: { name: 'snapshot', namespace: 'default' },
      spec: { source: { persistentVolumeClaimName: 'http-disk-raw' } },
    });
    await fill(COPIES);
  }, 900_000);

  afterAll(async () => {
    await platform?.destroy();
    await servers?.s3.close();
    await servers?.gcs.close();
    await servers?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  /** Puts the files into the object stores and the registry. */
  async function publish(): Promise<void> {
    const file = (name: string): Buffer => readFileSync(join(servers.filesDir, name));
    for (const name of someOrAll) {
      for (const { objects } of [servers.s3, servers.gcs]) objects.set(`/images/${name}`, file(name));
      await pushImage(servers.registry, `oci/${nameOf(name)}`, 'oci', { amd64: [diskLayer(name, file(name))] });
    }
    await pushImage(servers.registry, 'docker/disk-qcow2', 'docker', { amd64: [diskLayer('disk.img', file('disk.qcow2'))] });
    const many = { amd64: [diskLayer('disk.img', file('disk.raw'))], arm64: [diskLayer('disk.img', file('odd.raw'))] };
    await pushImage(servers.registry, 'many', 'oci', many);
  }

  /** What the DataVolumes refer to, and that one registry is without TLS. */
  async function configure(): Promise<void> {
    const secret = (name: string, stringData: object, type = 'Opaque') => ({
      ...{ apiVersion: 'v1', kind: 'Secret', type, metadata: { name, namespace: 'default' }, stringData },
    });
    const auths = { [servers.secureRegistry]: { username: LOGIN.user, password: LOGIN.password } };
    const objects = [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'elsewhere' } },
      secret('login', { accessKeyId: LOGIN.user, secretKey: LOGIN.password }),
      secret('headers', { token: HEADERS.secret }),
      secret('s3-key', { accessKeyId: KEY.keyId, secretKey: KEY.secret }),
      secret('gcs-key', { 'credentials.json': (servers.gcs as Awaited<ReturnType<typeof startGcs>>).keyFile }),
      secret('pull', { '.dockerconfigjson': JSON.stringify({ auths }) }, 'kubernetes.io/dockerconfigjson'),
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'ca', namespace: 'default' }, data: { 'ca.crt': servers.ca } },
    ];
    await platform.apply(list(objects));
    const insecure = { spec: { storageImport: { insecureRegistries: [servers.registry] } } };
    const [hco = ''] = (
      await platform.kubectl('get', 'hco', '-A', '-o', 'jsonpath={.items[0].metadata.namespace}/{.items[0].metadata.name}')
    ).split(' ');
    const [namespace = '', name = ''] = hco.split('/');
    await platform.kubectl('patch', 'hco', '-n', namespace, name, '--type=merge', '-p', JSON.stringify(insecure));
    await platform.until<{ spec: { insecureRegistries?: string[] } }>(
      'cdiconfig config',
      ({ spec }) => spec.insecureRegistries?.includes(servers.registry) === true,
    );
  }

  /** Makes DataVolumes and waits until each has ended, or the time is over. */
  async function fill(cases: readonly Case[]): Promise<void> {
    await platform.apply(list(cases.map(manifest)));
    const names = new Set(cases.map(({ name }) => name));
    const isOver = ({ status }: DataVolume): boolean => /^(Succeeded|Failed)$/.test(status?.phase ?? '');
    const read = ({ items }: { items: DataVolume[] }): boolean => {
      const found = items.filter(({ metadata }) => names.has(metadata.name));
      for (const item of found) ended.set(item.metadata.name, item);
      return found.length === names.size && found.every(isOver);
    };
    // what did not get there is the failure of its own test
    await platform.until<{ items: DataVolume[] }>('dv --all-namespaces', read, PATIENCE_MS).catch(() => {});
  }

  /** Where the volume of a claim lies on the node. */
  async function volumeOf(claim: string): Promise<string> {
    if (!uids.has(claim)) {
      const { items } = JSON.parse(await platform.kubectl('get', 'pvc', '-A', '-o', 'json')) as {
        items: { metadata: { name: string; uid: string } }[];
      };
      for (const { metadata } of items) uids.set(metadata.name, metadata.uid);
    }
    const [node = ''] = readdirSync(join(platform.dataDir, 'nodes'));
    return join(platform.dataDir, 'nodes', node, 'volumes', uids.get(claim) ?? '');
  }

  /** A raw file is compared byte by byte, a layer on others as QEMU reads it. */
  async function expectDisk(claim: string, original: string | undefined): Promise<void> {
    const volume = await volumeOf(claim);
    const { format } = JSON.parse(readFileSync(join(volume, 'volume.json'), 'utf8')) as { format: string };
    const disk = join(volume, 'disk.img');
    const expected = original === undefined ? Buffer.alloc(0) : readFileSync(join(servers.filesDir, original));
    if (format === 'raw') return expectRaw(disk, expected);
    const raw = join(dir, `${claim}.copy`);
    execFileSync('qemu-img', ['convert', '-U', '-f', format, '-O', 'raw', disk, raw]);
    expectRaw(raw, expected);
    rmSync(raw);
  }

  function expectRaw(disk: string, expected: Buffer): void {
    const actual = readFileSync(disk);
    expect(actual.length).toBeGreaterThanOrEqual(16 << 20);
    expect(actual.subarray(0, expected.length).equals(expected)).toBe(true);
    expect(actual.subarray(expected.length).equals(Buffer.alloc(actual.length - expected.length))).toBe(true);
  }

  const expectSucceeded = (name: string): void => {
    const { status } = ended.get(name) ?? {};
    expect(status?.phase, JSON.stringify(status?.conditions)).toBe('Succeeded');
  };

  it.each([...SOURCES, ...BLOCK, ...COPIES])('from $name is the original', async ({ name, original }) => {
    expectSucceeded(name);
    await expectDisk(name, original);
  });

  it.each(ARCHIVES)('from $name is the tree', async ({ name, original = '' }) => {
    expectSucceeded(name);
    const files = join(await volumeOf(name), 'files');
    expect(execFileSync('diff', ['-r', join(servers.filesDir, original), files]).toString()).toBe('');
  });

  it.each(UPLOADS)('from an upload of $file to $volumeMode is the original', async ({ file, volumeMode }) => {
    const name = nameOf('upload', file, volumeMode.toLowerCase());
    const flags = [
      `--image-path=${join(servers.filesDir, file)}`,
      '--size=16Mi',
      '--force-bind',
      `--volume-mode=${volumeMode.toLowerCase()}`,
    ];
    const result = await platform.slipway('virt', 'image-upload', 'dv', name, ...flags);
    expect(result, result.stderr).toMatchObject({ code: 0 });
    await expectDisk(name, originalOf(file));
  });

  it('is the original for who exports it', async () => {
    const copy = join(dir, 'export.img');
    const result = await platform.slipway(
      'virt',
      'vmexport',
      'download',
      'out',
      '--pvc=http-disk-vmdk',
      '--format=raw',
      `--output=${copy}`,
    );
    expect(result, result.stderr).toMatchObject({ code: 0 });
    expectRaw(copy, readFileSync(join(servers.filesDir, 'disk.raw')));
  });

  it('of zeros takes no space, and one that is preallocated takes all of it', async () => {
    const blocks = async (claim: string): Promise<number> => statSync(join(await volumeOf(claim), 'disk.img')).blocks * 512;
    expect(await blocks('blank')).toBe(0);
    expect(await blocks('http-disk-raw')).toBeLessThan(2 << 20);
    for (const name of ['preallocated', 'block-preallocated']) expect(await blocks(name)).toBeGreaterThanOrEqual(16 << 20);
  });
});
