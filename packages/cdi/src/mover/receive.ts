import { type FileHandle, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { BulkFile } from './bulk-file.ts';
import { Checkpoints } from './checkpoints.ts';
import { type Checksum, ChecksumVerifier } from './checksum.ts';
import { type FileVersion, isResumable } from './download.ts';
import { emptyTree, unpackArchive } from './archive.ts';
import { detectCompression, detectFormat, type ImageFormat, isTar } from './image-format.ts';
import { ImportError } from './import-error.ts';
import {
  checkHeader,
  convertImage,
  finishRaw,
  ingest,
  type IngestDeps,
  type IngestResult,
  peek,
  scratchLimit,
  unpack,
} from './ingest.ts';
import { type Journal, readJournal, removeJournal } from './journal.ts';
import { SparseWriter } from './sparse-writer.ts';

/** The bytes of one file, in order. */
export interface ByteSource {
  /** Undefined until something is known of the file. */
  readonly version: FileVersion | undefined;
  /** Everything from `offset` on. */
  chunks(offset: number, signal: AbortSignal): AsyncIterable<Buffer>;
}

/** What is to be received, and from where. */
export interface Reception {
  /** Digest of what was asked for: what an earlier run left is of use for the same request alone. */
  readonly request: string;
  readonly checksum?: Checksum;
  /** The source cannot be asked again: the journal also tells that the last byte has come. */
  readonly keepsAll?: boolean;
  /** `known`: the version that bytes on disk belong to. */
  open(known: FileVersion | undefined): ByteSource;
}

/**
 * Brings a file of any known format to the destination. A run that is killed leaves a journal from which the next one goes
 * on; raw images are written straight to the disk, everything else by way of the work directory.
 */
export async function receive(reception: Reception, deps: IngestDeps, signal: AbortSignal): Promise<IngestResult> {
  const found = await readJournal(deps.workDir, deps.bootId);
  const journal = found?.request === reception.request ? found : undefined;
  const source = reception.open(journal?.version);
  const context = { reception, deps, source, verifier: new ChecksumVerifier(reception.checksum) };
  if (journal?.layout === 'target') return receiveRaw(source.chunks(journal.bytes, signal), journal.bytes, context);
  if (journal?.layout === 'scratch') return receiveScratch(source.chunks(journal.bytes, signal), journal.bytes, context, signal);
  await removeJournal(deps.workDir);
  if (deps.destination.filesPath !== undefined) return receiveScratch(source.chunks(0, signal), 0, context, signal);
  const { header, stream } = await peek(source.chunks(0, signal));
  const isPlainRaw = detectCompression(header) === undefined && detectFormat(header) === 'raw' && !isTar(header);
  if (isPlainRaw) {
    checkHeader(header, 'raw', deps.destination.maxBytes);
    return receiveRaw(stream, 0, context);
  }
  return receiveScratch(stream, 0, context, signal);
}

interface Context {
  readonly reception: Reception;
  readonly deps: IngestDeps;
  readonly source: ByteSource;
  readonly verifier: ChecksumVerifier;
}

/** Received bytes are the disk: they go to their place at once. */
async function receiveRaw(stream: AsyncIterable<Buffer>, offset: number, context: Context): Promise<IngestResult> {
  const { deps, verifier } = context;
  const { destination } = deps;
  const target = await BulkFile.open(destination.path, destination.isClaim || offset > 0 ? 'r+' : 'w+');
  const { file } = target;
  const writer = new SparseWriter(target, { limit: destination.maxBytes, position: offset, isDense: destination.preallocates });
  const checkpoints = checkpointsOf(writer, 'target', target.isDirect, context);
  try {
    // what lies beyond the journal's mark may be anything
    await file.truncate(offset);
    if (destination.isClaim) await file.truncate(destination.maxBytes);
    if (verifier.isNeeded) for await (const chunk of readPrefix(file, offset)) verifier.update(chunk);
    for await (const chunk of checkSize(stream, context)) {
      verifier.update(chunk);
      await writer.write(chunk);
      await advance(writer, checkpoints, context);
    }
    await finish(writer, checkpoints, context);
    verifier.verify();
    return { format: 'raw', virtualBytes: await finishRaw(destination, writer.position) };
  } finally {
    await checkpoints.stop();
    await target.close();
  }
}

/** A raw file that cannot fit is refused before it is fetched. */
async function* checkSize(stream: AsyncIterable<Buffer>, { deps, source }: Context): AsyncGenerator<Buffer> {
  let isChecked = false;
  for await (const chunk of stream) {
    const total = source.version?.totalBytes;
    if (!isChecked && total !== undefined && total > deps.destination.maxBytes)
      throw new ImportError(
        'ImageTooLarge',
        `virtual image size ${total} is larger than the reported available storage ${deps.destination.maxBytes}. A larger PVC is required`,
      );
    isChecked = true;
    yield chunk;
  }
}

/** Received bytes are kept in the work directory, and unpacked while they arrive when they are compressed. */
async function receiveScratch(
  stream: AsyncIterable<Buffer>,
  offset: number,
  context: Context,
  signal: AbortSignal,
): Promise<IngestResult> {
  const { deps, verifier } = context;
  const path = join(deps.workDir, 'received');
  // it is read again at once, and then deleted
  const target = await BulkFile.open(path, offset > 0 ? 'r+' : 'w+', { isCached: true });
  const writer = new SparseWriter(target, { limit: scratchLimit(deps.destination.maxBytes), position: offset });
  const checkpoints = checkpointsOf(writer, 'scratch', target.isDirect, context);
  try {
    const received = keep(stream, { file: target.file, writer, checkpoints }, context);
    if (deps.destination.filesPath !== undefined)
      return await receiveArchive(received, deps.destination.filesPath, context, signal);
    const { header, stream: bytes } = await peek(received);
    const isImage = detectCompression(header) === undefined && !isTar(header);
    if (isImage) return await receiveImage({ bytes, header, path }, context, signal);
    deps.progress.downloadShare = 1;
    const result = await ingest(bytes, deps, signal);
    // a decompressor may stop before the end of its input: the hash needs every byte
    for await (const _ of bytes);
    verifier.verify();
    return result;
  } finally {
    await checkpoints.stop();
    await target.close();
    await rm(join(deps.workDir, 'image'), { force: true });
  }
}

/** An archive is unpacked while it arrives; what an earlier run has unpacked is unpacked again from what it has kept. */
async function receiveArchive(
  received: AsyncIterable<Buffer>,
  directory: string,
  { deps, verifier }: Context,
  signal: AbortSignal,
): Promise<IngestResult> {
  const { maxBytes } = deps.destination;
  deps.progress.downloadShare = 1;
  await emptyTree(directory);
  const { stream: bytes } = await peek(received);
  const { header, stream } = await unpack(bytes, deps.tools, signal);
  if (!isTar(header)) throw new ImportError('InvalidImage', 'The file is not a tar archive, plain or compressed');
  await unpackArchive(stream, directory, { maxBytes }, signal);
  // a decompressor may stop before the end of its input: the hash needs every byte
  for await (const _ of bytes);
  verifier.verify();
  return { format: 'raw', virtualBytes: maxBytes };
}

async function receiveImage(
  image: { readonly bytes: AsyncIterable<Buffer>; readonly header: Buffer; readonly path: string },
  { deps, verifier }: Context,
  signal: AbortSignal,
): Promise<IngestResult> {
  const format: ImageFormat = detectFormat(image.header);
  checkHeader(image.header, format, deps.destination.maxBytes);
  deps.progress.downloadShare = 0.8;
  for await (const _ of image.bytes);
  verifier.verify();
  return convertImage({ path: image.path, format }, deps, signal);
}

interface Scratch {
  readonly file: FileHandle;
  readonly writer: SparseWriter;
  readonly checkpoints: Checkpoints;
}

/** Yields the bytes that are in the file already and then those that arrive, which it writes down. */
async function* keep(stream: AsyncIterable<Buffer>, scratch: Scratch, context: Context): AsyncGenerator<Buffer> {
  const { file, writer, checkpoints } = scratch;
  const { verifier } = context;
  const offset = writer.position;
  for await (const chunk of readPrefix(file, offset)) {
    verifier.update(chunk);
    yield chunk;
  }
  // bytes beyond the journal's mark may be anything
  await file.truncate(offset);
  for await (const chunk of stream) {
    verifier.update(chunk);
    await writer.write(chunk);
    await advance(writer, checkpoints, context);
    yield chunk;
  }
  await finish(writer, checkpoints, context);
  await file.truncate(writer.position);
}

function checkpointsOf(writer: SparseWriter, layout: Journal['layout'], isDirect: boolean, context: Context): Checkpoints {
  const { deps, reception, source } = context;
  const entry = (bytes: number): Journal | undefined => {
    const { version } = source;
    if (version === undefined || !isResumable(version) || bytes === 0) return undefined;
    return { request: reception.request, version, layout, bytes };
  };
  return new Checkpoints({ ...deps, writer, isDirect, entry });
}

async function advance(writer: SparseWriter, checkpoints: Checkpoints, { deps, source }: Context): Promise<void> {
  deps.progress.download(writer.position, source.version?.totalBytes);
  await checkpoints.note();
}

/** A source that cannot be asked again must be able to end without it, also after a loss of power. */
async function finish(writer: SparseWriter, checkpoints: Checkpoints, { reception, source }: Context): Promise<void> {
  const isWhole = source.version?.totalBytes === writer.position;
  await (isWhole ? checkpoints.finish(reception.keepsAll === true) : checkpoints.close());
}

async function* readPrefix(file: FileHandle, length: number): AsyncGenerator<Buffer> {
  const size = 1024 * 1024;
  for (let position = 0; position < length; ) {
    const buffer = Buffer.allocUnsafe(Math.min(size, length - position));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0)
      throw new ImportError(
        'SourceChanged',
        'The bytes of the interrupted download are gone; it starts again from the beginning',
      );
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}
