import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type MoverOutcome, runMover } from './main.ts';
import type { MoverEnv } from './options.ts';
import { type ImageServer, startImageServer } from '@slipway/testkit';
import { testIo } from './testing/test-io.ts';

const MiB = 1024 * 1024;
const disk = randomBytes(MiB);
let dir: string;
let server: ImageServer;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'slipreg-'));
  writeFileSync(join(dir, 'disk.img'), '');
  truncateSync(join(dir, 'disk.img'), MiB);
  server = await startImageServer();
});
afterEach(async () => {
  await server.close();
  rmSync(dir, { recursive: true, force: true });
});

const digestOf = (data: Buffer): string => `sha256:${createHash('sha256').update(data).digest('hex')}`;

/** Serves a blob or a manifest; returns its descriptor. */
function serve(kind: 'blobs' | 'manifests', data: Buffer, name = digestOf(data)): { digest: string; size: number } {
  server.files.set(`/v2/os/fedora/${kind}/${name}`, { body: data });
  return { digest: digestOf(data), size: data.length };
}

function serveImage(config: object): void {
  mkdirSync(join(dir, 'image/disk'), { recursive: true });
  writeFileSync(join(dir, 'image/disk/fedora.raw'), disk);
  const layer = gzipSync(execFileSync('tar', ['cC', join(dir, 'image'), 'disk'], { maxBuffer: 64 * MiB }));
  const manifest = {
    schemaVersion: 2,
    config: serve('blobs', Buffer.from(JSON.stringify(config))),
    layers: [serve('blobs', layer)],
  };
  serve('manifests', Buffer.from(JSON.stringify(manifest)), 'latest');
}

async function run(env: MoverEnv = {}): Promise<MoverOutcome> {
  const { signal } = new AbortController();
  const io = await testIo(signal);
  const registry = server.url.replace('http://', '');
  const places = ['--target', join(dir, 'disk.img'), '--work', join(dir, 'work'), '--size', String(MiB)];
  const source = { IMPORTER_SOURCE: 'registry', IMPORTER_ENDPOINT: `docker://${registry}/os/fedora:latest` };
  return runMover([...places, '--insecure-registry', registry], { ...source, ...env }, io, signal);
}

it('tells with the disk what the image says of it', async () => {
  serveImage({ architecture: 'amd64', config: { Env: ['INSTANCETYPE_KUBEVIRT_IO_DEFAULT_PREFERENCE=fedora', 'A=b'] } });
  const outcome = await run();
  expect(outcome).toMatchObject({ exitCode: 0, result: { imageDigest: expect.stringMatching(/^sha256:/) } });
  expect(JSON.parse(outcome.message)).toMatchObject({
    message: 'Import Complete',
    labels: { 'instancetype.kubevirt.io/default-preference': 'fedora' },
  });
  expect(readFileSync(join(dir, 'disk.img')).equals(disk)).toBe(true);
});

it('asks with the name and the password of an image pull secret', async () => {
  serveImage({});
  const auths = { [server.url.replace('http://', '')]: { username: 'joe', password: 'secret' } };
  const manifest = server.files.get('/v2/os/fedora/manifests/latest');
  server.files.set('/v2/os/fedora/manifests/latest', {
    body: manifest?.body ?? Buffer.alloc(0),
    challenge: 'Basic realm="registry"',
  });
  expect(await run()).toMatchObject({ exitCode: 1, message: expect.stringContaining('401') });
  expect(await run({ IMPORTER_REGISTRY_CONFIG: JSON.stringify({ auths }) })).toMatchObject({ exitCode: 0 });
  expect(server.requests.map(({ authorization }) => authorization)).toContain(
    `Basic ${Buffer.from('joe:secret').toString('base64')}`,
  );
});

it('takes an image of one architecture for that one alone, when one was asked for', async () => {
  serveImage({ architecture: 'arm64' });
  expect(await run({ IMPORTER_REGISTRY_IMAGE_ARCHITECTURE: 'amd64' })).toMatchObject({
    exitCode: 1,
    message: expect.stringMatching(/is of architecture arm64, not amd64.*platform\.architecture/),
  });
  expect(await run({ IMPORTER_REGISTRY_IMAGE_ARCHITECTURE: 'arm64' })).toMatchObject({ exitCode: 0 });
});

it('says that there are no image streams', async () => {
  const stream = { IMPORTER_ENDPOINT: '', IMPORTER_REGISTRY_IMAGE_STREAM: 'rhel9-guest' };
  expect(await run(stream)).toMatchObject({
    exitCode: 1,
    message: expect.stringMatching(/ImageStream rhel9-guest .*spec\.source\.registry\.url/),
  });
});
