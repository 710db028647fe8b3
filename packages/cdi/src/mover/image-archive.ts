import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { isObject } from '@slipway/apimachinery';
import { type Descriptor, isDescriptor, isDigest, type Manifest, readManifest } from '@slipway/runtime';
import { imageLabels } from './image-labels.ts';
import { ImportError } from './import-error.ts';
import { type IngestDeps, scratchLimit } from './ingest.ts';
import { readAll } from './read-all.ts';
import { chooseManifest } from './registry-client.ts';
import { importDisk, normalizedPath, type RegistryImportResult } from './registry-import.ts';
import type { TarEntry } from './tar-entries.ts';

const MAX_MEMBERS = 10_000;
const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;
const MAX_INDEXES = 4;
/** First files of what `skopeo copy … oci-archive:` and `docker save` write. */
const FIRST_FILE =
  /^(oci-layout|(index|manifest)\.json|repositories|blobs\/sha256\/[0-9a-f]{64}|[0-9a-f]{64}(\.json|\.tar|\/(VERSION|json|layer\.tar)))$/;

/** True when a tar archive that begins with this file is a container image. */
export const isImageArchive = (firstFile: string): boolean => FIRST_FILE.test(normalizedPath(firstFile));

/** A file of an OCI image layout or of a Docker archive; undefined when there is none. */
export type ImageFiles = (path: string) => Promise<AsyncIterable<Buffer> | undefined>;

/**
 * Imports the disk of a containerDisk that comes as an archive of an OCI image layout, or as `docker save` writes it. Its
 * files may come in any order, so that all of them are kept in the work directory until the last one is here.
 */
export async function ingestImageArchive(
  first: TarEntry,
  rest: AsyncIterable<TarEntry>,
  deps: IngestDeps,
  signal: AbortSignal,
): Promise<RegistryImportResult> {
  const directory = join(deps.workDir, 'archive');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const limit = scratchLimit(deps.destination.maxBytes);
  // names of strangers are keys, never paths
  const places = new Map<string, string>();
  let bytes = 0;
  const keep = async (entry: TarEntry): Promise<void> => {
    const { name, type, size } = entry.header;
    if (type !== 'file' && type !== 'contiguous-file') return void entry.resume();
    bytes += size;
    if (bytes > limit)
      throw new ImportError(
        'ImageTooLarge',
        `the image archive is larger than the reported available storage ${limit}. A larger PVC is required`,
      );
    if (places.size >= MAX_MEMBERS) throw invalid(`holds more than ${MAX_MEMBERS} files`);
    const place = join(directory, String(places.size));
    await pipeline(entry, createWriteStream(place, { mode: 0o600 }), { signal });
    places.set(normalizedPath(name), place);
  };
  await keep(first);
  for await (const entry of rest) await keep(entry);
  const files: ImageFiles = async (path) => {
    const place = places.get(path);
    return place === undefined ? undefined : createReadStream(place);
  };
  return importImageFiles(files, deps, signal);
}

/** Imports the disk of a containerDisk from the files of its image. */
export async function importImageFiles(files: ImageFiles, deps: IngestDeps, signal: AbortSignal): Promise<RegistryImportResult> {
  const index = await document(files, 'index.json');
  const image = index === undefined ? await dockerImage(files) : await ociImage(files, index, deps);
  const blob = async function* (descriptor: Descriptor): AsyncGenerator<Buffer> {
    yield* checked(descriptor, await open(files, image.paths.get(descriptor.digest) ?? blobPath(descriptor.digest)));
  };
  const result = await importDisk({ name: 'the archive', layers: image.layers }, { blob }, { ...deps, isMember: true }, signal);
  return { ...result, imageDigest: image.digest, labels: deps.destination.isClaim ? imageLabels(image.config) : {} };
}

interface Image {
  readonly digest: string;
  readonly layers: readonly Descriptor[];
  /** Where layers lie that are not named by their digests. */
  readonly paths: ReadonlyMap<string, string>;
  readonly config: unknown;
}

async function ociImage(files: ImageFiles, text: string, deps: IngestDeps): Promise<Image> {
  const { architecture = '' } = deps;
  let manifest = manifestOf(text);
  let digest = digestOf(text);
  for (let depth = 0; manifest.manifests !== undefined; depth++) {
    const choice = chooseManifest(manifest.manifests, architecture);
    if (!isDescriptor(choice) || depth === MAX_INDEXES) throw invalid(`has no image for architecture ${architecture}`);
    digest = choice.digest;
    const next = await document(files, blobPath(digest));
    if (next === undefined || digestOf(next) !== digest) throw invalid(`lacks ${digest}, or it is damaged`);
    manifest = manifestOf(next);
  }
  const { layers, config } = manifest;
  if (!layers?.every(isDescriptor)) throw invalid('is not one of an OCI or Docker image');
  const settings = isDescriptor(config) ? await document(files, blobPath(config.digest)) : undefined;
  return { digest, layers, paths: new Map(), config: parsed(settings ?? '') };
}

async function dockerImage(files: ImageFiles): Promise<Image> {
  const text = (await document(files, 'manifest.json')) ?? '';
  const [image] = [parsed(text)].flat();
  const layers = isObject(image) && Array.isArray(image['Layers']) ? image['Layers'] : [];
  const names = layers.filter((layer): layer is string => typeof layer === 'string').map(normalizedPath);
  if (!isObject(image) || names.length === 0) throw invalid('is not one of an OCI or Docker image');
  const config = typeof image['Config'] === 'string' ? await document(files, normalizedPath(image['Config'])) : undefined;
  // a layer is named by its place, and has no digest that could be checked
  const paths = new Map(names.map((name) => [name, name]));
  return {
    digest: digestOf(text),
    layers: names.map((name) => ({ digest: name, size: 0 })),
    paths,
    config: parsed(config ?? ''),
  };
}

const blobPath = (digest: string): string => `blobs/sha256/${digest.replace(/^sha256:/, '')}`;
const digestOf = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`;

function manifestOf(text: string): Manifest {
  const manifest = readManifest(text);
  if (manifest === undefined) throw invalid('is not one of an OCI or Docker image');
  return manifest;
}

async function open(files: ImageFiles, path: string): Promise<AsyncIterable<Buffer>> {
  const stream = await files(path);
  if (stream === undefined) throw invalid(`lacks ${path}`);
  return stream;
}

async function document(files: ImageFiles, path: string): Promise<string | undefined> {
  const stream = await files(path);
  if (stream === undefined) return undefined;
  return (await readAll(stream, MAX_DOCUMENT_BYTES, `The image archive: ${path} is too large`)).toString('utf8');
}

/** The end throws unless the bytes hash to the digest, where there is one. */
async function* checked({ digest }: Descriptor, stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  for await (const chunk of stream) {
    hash.update(chunk);
    yield chunk;
  }
  if (isDigest(digest) && `sha256:${hash.digest('hex')}` !== digest) throw invalid(`holds the layer ${digest} damaged`);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // not JSON
  }
}

const invalid = (what: string): ImportError =>
  new ImportError('InvalidImage', `The image archive ${what}. Write it again, as with "skopeo copy … oci-archive:FILE"`);
