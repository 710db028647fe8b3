import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { seededRandom } from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type MoverOutcome, runMover } from './main.ts';
import type { MoverEnv } from './options.ts';
import { type ImageServer, startImageServer } from '@slipway/testkit';
import { testIo } from './testing/test-io.ts';

const MiB = 1024 * 1024;
const [disk, other] = [1, 2].map((seed) =>
  Buffer.concat([seededRandom(seed).bytes(MiB), Buffer.alloc(MiB), Buffer.alloc(MiB, 'x')]),
);
const ENV = { config: { Env: ['INSTANCETYPE_KUBEVIRT_IO_DEFAULT_PREFERENCE=fedora'] } };
let dir: string;
let server: ImageServer;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'slipoci-'));
  writeFileSync(join(dir, 'disk.img'), '');
  truncateSync(join(dir, 'disk.img'), 4 * MiB);
  server = await startImageServer();
});
afterEach(async () => {
  await server.close();
  rmSync(dir, { recursive: true, force: true });
});

const sha = (data: Buffer | string): string => createHash('sha256').update(data).digest('hex');

function layer(content: Buffer = disk ?? Buffer.alloc(0), name = 'disk/fedora.img'): Buffer {
  const root = mkdtempSync(join(dir, 'layer-'));
  mkdirSync(dirname(join(root, name)), { recursive: true });
  writeFileSync(join(root, name), content);
  return execFileSync('tar', ['-cC', root, '.'], { maxBuffer: 256 * MiB });
}

/** Files of an OCI image layout with one image per architecture. */
function layout(images: Readonly<Record<string, Buffer>>, change: (files: Map<string, Buffer>) => void = () => {}) {
  const files = new Map<string, Buffer>();
  const blob = (data: Buffer): { digest: string; size: number } => {
    files.set(`blobs/sha256/${sha(data)}`, data);
    return { digest: `sha256:${sha(data)}`, size: data.length };
  };
  const manifests = Object.entries(images).map(([architecture, content]) => {
    const manifest = {
      schemaVersion: 2,
      config: blob(Buffer.from(JSON.stringify({ architecture, ...ENV }))),
      layers: [blob(content)],
    };
    const platform = Object.keys(images).length > 1 ? { platform: { architecture, os: 'linux' } } : {};
    return { ...blob(Buffer.from(JSON.stringify(manifest))), ...platform };
  });
  files.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests })));
  files.set('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
  change(files);
  return files;
}

/** As `docker save` of before the OCI layout wrote it. */
function dockerSave(content: Buffer): Map<string, Buffer> {
  const config = Buffer.from(JSON.stringify(ENV));
  const id = sha(content);
  const manifest = [{ Config: `${sha(config)}.json`, RepoTags: ['fedora:1'], Layers: [`${id}/layer.tar`] }];
  return new Map([
    [`${id}/VERSION`, Buffer.from('1.0')],
    [`${id}/layer.tar`, content],
    [`${sha(config)}.json`, config],
    ['manifest.json', Buffer.from(JSON.stringify(manifest))],
  ]);
}

function writeFiles(files: ReadonlyMap<string, Buffer>, root: string): string {
  for (const [name, data] of files) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), data);
  }
  return root;
}

function archive(files: ReadonlyMap<string, Buffer>): Buffer {
  const root = writeFiles(files, mkdtempSync(join(dir, 'archive-')));
  return execFileSync('tar', ['--format=ustar', '-cC', root, ...files.keys()], { maxBuffer: 256 * MiB });
}

async function run(env: MoverEnv, ...args: readonly string[]): Promise<MoverOutcome> {
  const { signal } = new AbortController();
  const places = ['--target', join(dir, 'disk.img'), '--work', join(dir, 'work'), '--size', String(4 * MiB)];
  return runMover([...places, ...args], env, await testIo(signal), signal);
}

function runHttp(body: Buffer, env: MoverEnv = {}): Promise<MoverOutcome> {
  server.files.set('/image.tar', { body });
  return run({ IMPORTER_ENDPOINT: `${server.url}/image.tar`, ...env }, '--allow-address', '127.0.0.1', '--retry-base-ms', '5');
}

function expectDisk(content = disk): void {
  const actual = readFileSync(join(dir, 'disk.img'));
  expect(actual.subarray(0, content?.length).equals(content ?? Buffer.alloc(0))).toBe(true);
  expect(actual.subarray(content?.length).equals(Buffer.alloc(4 * MiB - (content?.length ?? 0)))).toBe(true);
}

const qcow2 = (): Buffer => {
  writeFileSync(join(dir, 'source.raw'), disk ?? '');
  execFileSync('qemu-img', ['convert', '-O', 'qcow2', join(dir, 'source.raw'), join(dir, 'source.qcow2')]);
  return readFileSync(join(dir, 'source.qcow2'));
};

describe('an image archive', () => {
  it.each<[string, () => Buffer]>([
    ['of OCI', () => archive(layout({ amd64: layer() }))],
    ['of OCI, with compressed layers', () => archive(layout({ amd64: gzipSync(layer()) }))],
    ['of OCI, compressed itself', () => gzipSync(archive(layout({ amd64: layer() })))],
    ['of OCI, whose disk is a qcow2', () => archive(layout({ amd64: layer(qcow2()) }))],
    ['of Docker', () => archive(dockerSave(layer()))],
  ])('%s gives its disk', async (_, body) => {
    expect(await runHttp(body())).toMatchObject({ exitCode: 0 });
    expectDisk();
    expect(readdirSync(join(dir, 'work'))).toEqual([]);
  });

  it('gives the disk of the architecture that is asked for', async () => {
    const body = archive(layout({ amd64: layer(), arm64: layer(other) }));
    expect(await runHttp(body, { IMPORTER_REGISTRY_IMAGE_ARCHITECTURE: 'arm64' })).toMatchObject({ exitCode: 0 });
    expectDisk(other);
    expect(await runHttp(body, { IMPORTER_REGISTRY_IMAGE_ARCHITECTURE: 's390x' })).toMatchObject({
      exitCode: 1,
      message: expect.stringContaining('no image for architecture s390x'),
    });
  });

  const without = (pattern: RegExp) => (files: Map<string, Buffer>) => {
    for (const name of [...files.keys()]) if (pattern.test(name)) files.delete(name);
  };
  it.each<[string, () => Buffer, RegExp]>([
    ['without an index', () => archive(layout({ amd64: layer() }, without(/index/))), /neither|not one of an OCI/],
    ['without its layers', () => archive(layout({ amd64: layer() }, without(/blobs/))), /lacks sha256:/],
    ['with a damaged layer', () => archive(layout({ amd64: layer() }, damage)), /damaged/],
    ['without a disk', () => archive(layout({ amd64: layer(disk, 'etc/disk') })), /not a containerDisk/],
    ['in an archive', () => archive(layout({ amd64: layer(archive(layout({ amd64: layer() }))) })), /tar archive/],
    [
      'whose index is no JSON',
      () => archive(layout({ amd64: layer() }, (files) => files.set('index.json', Buffer.from('x')))),
      /not one of an OCI/,
    ],
    ['whose index names itself', () => archive(loop()), /no image for architecture/],
    ['that is larger than its disk may be', () => archive(layout({ amd64: layer(Buffer.alloc(80 * MiB, 'y')) })), /larger PVC/],
    ['cut off', () => archive(layout({ amd64: layer() })).subarray(0, 2 * MiB), /truncated|ended|Unexpected end|corrupt/],
  ])('%s is refused, and gives the space back', async (_, body, message) => {
    expect(await runHttp(body())).toMatchObject({ exitCode: 1, message: expect.stringMatching(message) });
    expect(statSync(join(dir, 'disk.img'))).toMatchObject({ size: 4 * MiB, blocks: 0 });
    expect(readdirSync(join(dir, 'work'))).toEqual([]);
  });

  function damage(files: Map<string, Buffer>): void {
    for (const data of files.values()) if (data.length > MiB) data.fill(7, 700_000, 700_001);
  }

  /** Five indexes, each of which names the next. */
  function loop(): Map<string, Buffer> {
    const files = new Map<string, Buffer>();
    let text = JSON.stringify({ manifests: [] });
    for (let depth = 0; depth < 6; depth++) {
      files.set(`blobs/sha256/${sha(text)}`, Buffer.from(text));
      text = JSON.stringify({ manifests: [{ digest: `sha256:${sha(text)}`, size: text.length }] });
    }
    return files.set('index.json', Buffer.from(text));
  }
});

describe('an image on the node', () => {
  const local = (path: string, ...allowed: readonly string[]): Promise<MoverOutcome> =>
    run(
      { IMPORTER_SOURCE: 'registry', IMPORTER_ENDPOINT: `oci-archive://${path}` },
      ...allowed.flatMap((directory) => ['--allow-directory', directory]),
    );

  it('is imported from an archive and from a layout, with what it says of its disk', async () => {
    const images = join(dir, 'images');
    writeFiles(layout({ amd64: gzipSync(layer()) }), join(images, 'fedora'));
    writeFileSync(join(images, 'fedora.tar'), archive(dockerSave(layer(other))));

    const outcome = await local(join(images, 'fedora'), images);
    expect(outcome).toMatchObject({ exitCode: 0, result: { imageDigest: expect.stringMatching(/^sha256:/) } });
    expect(JSON.parse(outcome.message)).toMatchObject({ labels: { 'instancetype.kubevirt.io/default-preference': 'fedora' } });
    expectDisk();
    expect(await local(join(images, 'fedora.tar'), images)).toMatchObject({ exitCode: 0 });
    expectDisk(other);
  });

  it('is refused outside of the directories that an administrator named, by whatever way', async () => {
    const [images, secrets] = [join(dir, 'images'), join(dir, 'images-secret')];
    writeFiles(layout({ amd64: layer() }), join(secrets, 'fedora'));
    mkdirSync(images);
    symlinkSync(secrets, join(images, 'link'));
    writeFiles(
      layout({ amd64: layer() }, (files) => files.delete('index.json')),
      join(images, 'evil'),
    );
    symlinkSync('/etc/passwd', join(images, 'evil/index.json'));
    const refusal = { exitCode: 1, reason: 'SourceRefused', message: expect.stringContaining('allowed-import-directories') };
    expect(await local(join(secrets, 'fedora'))).toMatchObject(refusal);
    for (const path of [
      join(secrets, 'fedora'),
      `${images}/../images-secret/fedora`,
      join(images, 'link/fedora'),
      '/etc/passwd',
      '',
    ])
      expect(await local(path, images)).toMatchObject(refusal);
    expect(await local(join(images, 'evil'), images)).toMatchObject({ exitCode: 1, message: expect.stringContaining('ELOOP') });
    expect(await local(join(images, 'nowhere'), images)).toMatchObject({
      exitCode: 1,
      message: expect.stringMatching(/ENOENT.*on the node/),
    });
  });
});
