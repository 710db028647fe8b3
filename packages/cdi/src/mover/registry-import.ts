import type { Descriptor } from '@slipway/runtime';
import { ingest, type IngestDeps, type IngestResult, peek } from './ingest.ts';
import { detectCompression } from './image-format.ts';
import { decompress } from './image-tools.ts';
import { ImportError } from './import-error.ts';
import { RegistryClient, type RegistryDeps } from './registry-client.ts';
import { parseImageReference } from './registry-reference.ts';
import { explainTarError, type TarEntry, tarEntries } from './tar-entries.ts';

export interface RegistryImportResult extends IngestResult {
  /** Digest of the manifest that was pulled. */
  readonly imageDigest: string;
  /** What the image says of its disk, for the claim. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** Pulls the one file below `/disk` of a containerDisk image into the destination. */
export async function importRegistry(
  reference: string,
  deps: IngestDeps & RegistryDeps,
  signal: AbortSignal,
): Promise<RegistryImportResult> {
  const image = parseImageReference(reference);
  const client = new RegistryClient(image, deps);
  const resolved = await client.resolve(signal);
  const { layers, digest } = resolved;
  const labels = deps.destination.isClaim ? await client.labels(resolved, signal) : {};
  return { ...(await importDisk({ name: reference, layers }, client, deps, signal)), imageDigest: digest, labels };
}

/** Where the layers of an image come from. */
export interface Blobs {
  /** The end throws unless the bytes are those that the descriptor names. */
  blob(descriptor: Descriptor, signal: AbortSignal): AsyncIterable<Buffer>;
}

/** Imports the one file below `/disk` of an image whose layers are known. */
export async function importDisk(
  { name, layers }: { readonly name: string; readonly layers: readonly Descriptor[] },
  blobs: Blobs,
  deps: IngestDeps,
  signal: AbortSignal,
): Promise<IngestResult> {
  // the topmost layer that has the file wins, unless a layer above it has deleted it
  for (const layer of [...layers].reverse()) {
    const found = await importLayer(layer, blobs, deps, signal).catch((error: unknown) => {
      throw explainTarError(error);
    });
    if (found === 'deleted') break;
    if (found !== undefined) return found;
  }
  throw new ImportError(
    'InvalidImage',
    `Failed to pull image: ${name} holds no disk image in directory /disk: it is not a containerDisk`,
  );
}

async function importLayer(
  layer: Descriptor,
  blobs: Blobs,
  deps: IngestDeps,
  signal: AbortSignal,
): Promise<IngestResult | 'deleted' | undefined> {
  let result: IngestResult | 'deleted' | undefined;
  for await (const entry of layerEntries(layer, blobs, deps, signal)) {
    const path = normalizedPath(entry.header.name);
    if (isWhiteout(path)) result ??= 'deleted';
    const isDisk = entry.header.type === 'file' && /^disk\/[^/]+$/.test(path) && !path.startsWith('disk/.wh.');
    if (isDisk && (result === undefined || result === 'deleted'))
      result = await ingest(entry as AsyncIterable<Buffer>, deps, signal);
    else entry.resume();
  }
  return result;
}

/** Entries of a layer's archive; each must be read or resumed. When it ends, the layer's digest has been checked. */
export async function* layerEntries(
  layer: Descriptor,
  blobs: Blobs,
  deps: IngestDeps,
  signal: AbortSignal,
): AsyncGenerator<TarEntry, void> {
  const { header, stream } = await peek(counted(blobs.blob(layer, signal), layer.size, deps));
  const compression = detectCompression(header);
  const tar = compression === undefined ? stream : decompress(compression, stream, deps.tools, signal);
  // to the last byte, because only then the digest has been checked
  yield* tarEntries(tar);
}

async function* counted(stream: AsyncIterable<Buffer>, total: number, { progress }: IngestDeps): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.length;
    progress.download(bytes, total);
    yield chunk;
  }
}

/** Names are compared, never opened; still, one with `..` matches nothing. */
export function normalizedPath(name: string): string {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  return parts.includes('..') ? '' : parts.join('/');
}

const isWhiteout = (path: string): boolean => path === '.wh.disk' || path === '.wh..wh..opq' || path.startsWith('disk/.wh.');
