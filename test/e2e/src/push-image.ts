import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

const digestOf = (data: Buffer): string => `sha256:${createHash('sha256').update(data).digest('hex')}`;

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** Media types of the two schemas that registries know. */
const SCHEMAS = {
  oci: {
    config: 'application/vnd.oci.image.config.v1+json',
    layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    index: 'application/vnd.oci.image.index.v1+json',
  },
  docker: {
    config: 'application/vnd.docker.container.image.v1+json',
    layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
  },
} as const;
export type Schema = keyof typeof SCHEMAS;

/** A layer with one file below `/disk`. */
export function diskLayer(name: string, disk: Buffer): Buffer {
  const dir = mkdtempSync(join(tmpdir(), 'sw-layer-'));
  try {
    mkdirSync(join(dir, 'disk'));
    writeFileSync(join(dir, 'disk', name), disk);
    return gzipSync(execFileSync('tar', ['--owner=107', '--group=107', '-cC', dir, 'disk'], { maxBuffer: 256 << 20 }), {
      level: 1,
    });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** A containerDisk: configuration, layers and manifest, by the digests that name them. */
export function containerDisk(schema: Schema, layers: readonly Buffer[], architecture = 'amd64') {
  const types = SCHEMAS[schema];
  const blobs = new Map<string, Buffer>();
  const add = (data: Buffer, mediaType: string): Descriptor => {
    blobs.set(digestOf(data), data);
    return { mediaType, digest: digestOf(data), size: data.length };
  };
  const config = add(
    Buffer.from(JSON.stringify({ architecture, os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: [] } })),
    types.config,
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: types.manifest,
      config,
      layers: layers.map((layer) => add(layer, types.layer)),
    }),
  );
  return { blobs, manifest, descriptor: { mediaType: types.manifest, digest: digestOf(manifest), size: manifest.length } };
}

const upload = async (url: string, init: RequestInit, status: number): Promise<Response> => {
  const response = await fetch(url, init);
  if (response.status !== status) throw new Error(`${init.method} ${url} answered ${response.status}: ${await response.text()}`);
  return response;
};

const putManifest = (registry: string, repository: string, reference: string, body: Buffer, type: string) =>
  upload(
    `http://${registry}/v2/${repository}/manifests/${reference}`,
    { method: 'PUT', headers: { 'content-type': type }, body },
    201,
  );

/** Pushes one image per architecture below one tag, as an index when there are several. */
export async function pushImage(
  registry: string,
  repository: string,
  schema: Schema,
  disks: Readonly<Record<string, readonly Buffer[]>>,
): Promise<void> {
  const manifests: (Descriptor & { platform: object })[] = [];
  const architectures = Object.entries(disks);
  for (const [architecture, layers] of architectures) {
    const { blobs, manifest, descriptor } = containerDisk(schema, layers, architecture);
    for (const [digest, data] of blobs) {
      const started = await upload(`http://${registry}/v2/${repository}/blobs/uploads/`, { method: 'POST' }, 202);
      const place = new URL(started.headers.get('location') ?? '', `http://${registry}`);
      place.searchParams.set('digest', digest);
      const headers = { 'content-type': 'application/octet-stream' };
      await upload(place.href, { method: 'PUT', headers, body: data }, 201);
    }
    const reference = architectures.length === 1 ? 'latest' : descriptor.digest;
    await putManifest(registry, repository, reference, manifest, descriptor.mediaType);
    manifests.push({ ...descriptor, platform: { architecture, os: 'linux' } });
  }
  if (architectures.length === 1) return;
  const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: SCHEMAS[schema].index, manifests }));
  await putManifest(registry, repository, 'latest', index, SCHEMAS[schema].index);
}

/** Writes the image of `disk.raw` as an archive of an OCI layout, and as `docker save` did before it knew that layout. */
export function writeImageArchives(dir: string): void {
  const layer = diskLayer('disk.raw', readFileSync(join(dir, 'disk.raw')));
  const { blobs, manifest, descriptor } = containerDisk('oci', [layer]);
  const files = new Map(
    [...blobs, [descriptor.digest, manifest] as const].map(([digest, data]) => [`blobs/sha256/${digest.slice(7)}`, data]),
  );
  files.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [descriptor] })));
  files.set('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
  writeTar(join(dir, 'image.tar'), files);
  const id = digestOf(layer).slice(7);
  const save = [{ Config: 'config.json', RepoTags: ['disk:latest'], Layers: [`${id}/layer.tar`] }];
  const saved = new Map([
    [`${id}/VERSION`, Buffer.from('1.0')],
    [`${id}/layer.tar`, layer],
    ['config.json', Buffer.from('{}')],
    ['manifest.json', Buffer.from(JSON.stringify(save))],
  ]);
  writeTar(join(dir, 'docker.tar'), saved);
  execFileSync('gzip', ['-1', join(dir, 'docker.tar')]);
}

function writeTar(path: string, files: ReadonlyMap<string, Buffer>): void {
  const root = mkdtempSync(join(tmpdir(), 'sw-archive-'));
  try {
    for (const [name, data] of files) {
      mkdirSync(dirname(join(root, name)), { recursive: true });
      writeFileSync(join(root, name), data);
    }
    execFileSync('tar', ['-cf', path, '-C', root, ...files.keys()]);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
