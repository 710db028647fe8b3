import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { TimerClock } from '@slipway/runtime';
import { ingestAppliance } from './appliance.ts';
import { BulkFile, canBeDirect } from './bulk-file.ts';
import {
  checkQcow2Header,
  type Compression,
  detectCompression,
  detectFormat,
  foreignFile,
  HEADER_BYTES,
  type ImageFormat,
  isTar,
} from './image-format.ts';
import { checkIntegrity, convertToRaw, decompress, type ImageTools, inspectImage } from './image-tools.ts';
import { explainWriteError, ImportError } from './import-error.ts';
import type { ProgressReporter } from './progress.ts';
import { SparseWriter } from './sparse-writer.ts';

/** Where a transfer ends: the disk of a claim, or an image for the image store. */
export interface Destination {
  readonly path: string;
  /** Size of the claim, or the largest image that is accepted. */
  readonly maxBytes: number;
  /** The disk exists and has `maxBytes`; otherwise the file is made and has the size of the image. */
  readonly isClaim: boolean;
  readonly preallocates: boolean;
  /** Directory for the files of an archive, which come in place of a disk. */
  readonly filesPath?: string;
}

export interface IngestDeps {
  readonly destination: Destination;
  /** Private directory on the file system of the destination. */
  readonly workDir: string;
  readonly tools: ImageTools;
  readonly progress: ProgressReporter;
  readonly clock: TimerClock;
  /** Changes when the machine starts again, which takes its page cache with it. */
  readonly bootId: string;
  /** Name of the disk to take from an appliance. */
  readonly member?: string;
  /** OCI name of the architecture whose disk is taken from an image of several. */
  readonly architecture?: string;
  /** The bytes come from an appliance already. */
  readonly isMember?: boolean;
  /** Called when the whole image is here and passed every check, before it is converted. */
  readonly onValidated?: () => void;
}

/** What now lies at the destination. */
export interface IngestResult {
  readonly format: 'raw' | 'qcow2';
  readonly virtualBytes: number;
}

/** Scratch copies may be larger than the disk: formats have tables, and thick images hold zeros. */
export const scratchLimit = (maxBytes: number): number => maxBytes * 2 + 64 * 1024 * 1024;

/** The first bytes of a stream, and the whole stream. */
export async function peek(input: AsyncIterable<Buffer>): Promise<{ header: Buffer; stream: AsyncGenerator<Buffer> }> {
  const iterator = input[Symbol.asyncIterator]();
  const first: Buffer[] = [];
  let length = 0;
  while (length < HEADER_BYTES) {
    const next = await iterator.next();
    if (next.done) break;
    first.push(next.value);
    length += next.value.length;
  }
  async function* stream(): AsyncGenerator<Buffer> {
    try {
      yield* first;
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
    } finally {
      await iterator.return?.();
    }
  }
  return { header: Buffer.concat(first), stream: stream() };
}

/** Refuses what is no disk image by its first bytes. */
export function checkHeader(header: Buffer, format: ImageFormat, maxBytes: number): void {
  if (header.length < HEADER_BYTES)
    throw new ImportError('InvalidImage', `The file has only ${header.length} bytes: it is not a disk image`);
  if (isTar(header))
    throw new ImportError('InvalidImage', 'The file is a tar archive, not a disk image. Publish the image itself');
  const foreign = format === 'raw' ? foreignFile(header) : undefined;
  if (foreign !== undefined)
    throw new ImportError('InvalidImage', `The file is ${foreign.what}, not a disk image. ${foreign.remedy}`);
  if (format === 'qcow2') checkQcow2Header(header, maxBytes);
}

const MAX_LAYERS = 3;

/** Unpacks every layer of compression. */
export async function unpack(
  input: AsyncIterable<Buffer>,
  tools: ImageTools,
  signal: AbortSignal,
): Promise<{ header: Buffer; stream: AsyncGenerator<Buffer>; compression: Compression | undefined }> {
  let opened = await peek(input);
  let outermost: Compression | undefined;
  for (let layer = 0; layer < MAX_LAYERS; layer++) {
    const compression = detectCompression(opened.header);
    if (compression === undefined) return { ...opened, compression: outermost };
    outermost ??= compression;
    opened = await peek(decompress(compression, opened.stream, tools, signal));
  }
  throw new ImportError('InvalidImage', `The file is compressed more than ${MAX_LAYERS} times`);
}

/** Brings a stream of any known format and compression to the destination. */
export async function ingest(input: AsyncIterable<Buffer>, deps: IngestDeps, signal: AbortSignal): Promise<IngestResult> {
  const { destination, workDir, tools } = deps;
  const { header, stream } = await unpack(input, tools, signal);
  if (isTar(header) && !deps.isMember) return ingestAppliance(stream, deps, signal);
  const format = detectFormat(header);
  checkHeader(header, format, destination.maxBytes);
  if (format === 'raw') {
    const bytes = await writeStream(
      stream,
      destination.path,
      { limit: destination.maxBytes, isClaim: destination.isClaim },
      destination,
    );
    return { format: 'raw', virtualBytes: await finishRaw(destination, bytes) };
  }
  const image = join(workDir, 'image');
  await writeStream(stream, image, { limit: scratchLimit(destination.maxBytes), isClaim: false });
  return convertImage({ path: image, format }, deps, signal);
}

/** Turns a complete image file into the destination's content, by the image rules. */
export async function convertImage(
  image: { readonly path: string; readonly format: ImageFormat },
  deps: IngestDeps,
  signal: AbortSignal,
): Promise<IngestResult> {
  const { destination, tools, progress } = deps;
  const { virtualBytes, clusterBytes } = await inspectImage(image.path, image.format, destination.maxBytes, tools, signal);
  await checkIntegrity(image.path, image.format, { sizeBytes: (await stat(image.path)).size, clusterBytes }, tools, signal);
  deps.onValidated?.();
  if (!destination.isClaim) await makeEmpty(destination.path, virtualBytes);
  else await makeEmpty(destination.path, destination.maxBytes);
  await convertToRaw(
    image,
    destination.path,
    {
      onPercent: (percent) => progress.convert(percent, virtualBytes),
      preallocates: destination.preallocates,
      isDirect: await canBeDirect(destination.path),
    },
    tools,
    signal,
  );
  await syncFile(destination.path);
  return { format: 'raw', virtualBytes: destination.isClaim ? destination.maxBytes : virtualBytes };
}

async function writeStream(
  stream: AsyncIterable<Buffer>,
  path: string,
  options: { limit: number; isClaim: boolean },
  destination?: Destination,
): Promise<number> {
  const target = await BulkFile.open(path, options.isClaim ? 'r+' : 'w', { isCached: destination === undefined });
  try {
    if (options.isClaim) await clearFile(target.file, options.limit);
    const writer = new SparseWriter(target, { limit: options.limit, isDense: destination?.preallocates ?? false });
    for await (const chunk of stream) await writer.write(chunk);
    await writer.finish();
    return writer.position;
  } catch (error) {
    throw explainWriteError(error);
  } finally {
    await target.close();
  }
}

/** A disk consists of whole sectors; a claim keeps its full size whatever the image had. */
export async function finishRaw(destination: Destination, bytes: number): Promise<number> {
  const size = destination.isClaim ? destination.maxBytes : Math.ceil(bytes / 512) * 512;
  const file = await open(destination.path, 'r+');
  try {
    await file.truncate(size);
    await file.sync();
  } finally {
    await file.close();
  }
  return size;
}

/** One hole of the full size: whatever was there is gone and its space given back. */
export async function clearFile(file: FileHandle, size: number): Promise<void> {
  await file.truncate(0);
  await file.truncate(size);
}

async function makeEmpty(path: string, size: number): Promise<void> {
  const file = await open(path, 'a', 0o600);
  try {
    await clearFile(file, size);
  } finally {
    await file.close();
  }
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
