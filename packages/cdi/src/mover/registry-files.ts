import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ImportError } from './import-error.ts';
import type { IngestDeps } from './ingest.ts';
import { RegistryClient, type RegistryDeps } from './registry-client.ts';
import { layerEntries, normalizedPath, type RegistryImportResult } from './registry-import.ts';
import { parseImageReference } from './registry-reference.ts';

/** The name that says in a layer that a file of the layers below is gone. */
const whiteoutOf = (path: string): string => path.replace(/[^/]*$/, (name) => `.wh.${name}`);

/**
 * Copies single files of a container image into the directory that is the destination, named by their position: 0, 1 …
 * All of them together may have the destination's size.
 */
export async function importRegistryFiles(
  reference: string,
  files: readonly string[],
  deps: IngestDeps & RegistryDeps,
  signal: AbortSignal,
): Promise<RegistryImportResult> {
  const client = new RegistryClient(parseImageReference(reference), deps);
  const { layers, digest } = await client.resolve(signal);
  const { path: directory, maxBytes } = deps.destination;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const wanted = files.map(normalizedPath);
  const found = new Set<number>();
  const deleted = new Set<number>();
  let bytes = 0;
  // the topmost layer that has a file wins, unless a layer above it has deleted it
  for (const layer of [...layers].reverse()) {
    const open = wanted.flatMap((_, index) => (found.has(index) || deleted.has(index) ? [] : [index]));
    if (open.length === 0) break;
    for await (const entry of layerEntries(layer, client, deps, signal)) {
      const path = normalizedPath(entry.header.name);
      const index = open.find((candidate) => wanted[candidate] === path);
      for (const candidate of open) if (whiteoutOf(wanted[candidate] ?? '') === path) deleted.add(candidate);
      if (index === undefined || entry.header.type !== 'file') {
        entry.resume();
        continue;
      }
      bytes += entry.header.size ?? 0;
      if (bytes > maxBytes) throw new ImportError('InvalidImage', `The files of ${reference} are larger than ${maxBytes} bytes`);
      await pipeline(entry, createWriteStream(join(directory, String(index)), { mode: 0o600 }), { signal });
      found.add(index);
    }
  }
  const missing = files.filter((_, index) => !found.has(index));
  if (missing.length > 0) throw new ImportError('InvalidImage', `Image ${reference} has no file ${missing.join(', ')}`);
  return { format: 'raw', virtualBytes: bytes, imageDigest: digest };
}
