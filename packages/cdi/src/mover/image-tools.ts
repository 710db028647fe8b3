import { createGunzip } from 'node:zlib';
import { Readable } from 'node:stream';
import type { Compression, ImageFormat } from './image-format.ts';
import { checkVirtualSize } from './image-format.ts';
import { codeOf, ImportError, noSpace } from './import-error.ts';

/** Runs the programs that read untrusted images: unprivileged, without network, under limits and a deadline. */
export interface ImageTools {
  /** Resolves with stdout. Rejects with an Error that holds the end of stderr. */
  run(argv: readonly [string, ...string[]], limits: ToolLimits, signal: AbortSignal): Promise<string>;
  /** Feeds `input` to the program and yields what it writes. Rejects when it does not end with status 0. */
  filter(argv: readonly [string, ...string[]], input: AsyncIterable<Buffer>, signal: AbortSignal): AsyncIterable<Buffer>;
}

export interface ToolLimits {
  readonly deadlineMs: number;
  readonly cpuSeconds: number;
  readonly addressSpaceBytes: number;
  readonly onOutput?: (text: string) => void;
  /** Further exit statuses that are not a failure. */
  readonly acceptedStatuses?: readonly number[];
}

/** qemu-img check: corruptions, leaked clusters, format without a check. */
const CHECK_LIMITS: ToolLimits = {
  deadlineMs: 10 * 60_000,
  cpuSeconds: 600,
  addressSpaceBytes: 2 * 1024 ** 3,
  acceptedStatuses: [2, 3, 63],
};
const INFO_LIMITS: ToolLimits = { deadlineMs: 30_000, cpuSeconds: 30, addressSpaceBytes: 1024 ** 3 };
const CONVERT_LIMITS: ToolLimits = { deadlineMs: 6 * 3600_000, cpuSeconds: 2 * 3600, addressSpaceBytes: 4 * 1024 ** 3 };

/** The decompressed stream. A broken stream ends with `InvalidImage`. */
export async function* decompress(
  compression: Compression,
  input: AsyncIterable<Buffer>,
  tools: ImageTools,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  let inputError: unknown;
  // a failure of the input is the input's, not a sign of a corrupt stream
  const guarded = rememberError(input, (error) => {
    inputError = error;
  });
  try {
    if (compression === 'gzip') yield* gunzip(guarded);
    else yield* tools.filter(PROGRAMS[compression], guarded, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (inputError !== undefined) throw inputError;
    if (codeOf(error) === 'ENOENT')
      throw new ImportError(
        'InvalidRequest',
        `The program ${PROGRAMS[compression as keyof typeof PROGRAMS][0]} is not installed on the node: run "slipway doctor"`,
      );
    if (error instanceof ImportError) throw error;
    const cause = error instanceof Error ? error.message : String(error);
    throw new ImportError(
      'InvalidImage',
      `Unable to process data: the ${compression} stream is truncated or corrupt (${cause}). Publish the file again`,
      { cause: error },
    );
  }
}

const PROGRAMS = {
  xz: ['xz', '-dc', '-T1', '--memlimit-decompress=1GiB'],
  zstd: ['zstd', '-dc', '--memory=512MB'],
  bzip2: ['bzip2', '-dc'],
} as const;

async function* gunzip(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const source = Readable.from(input, { objectMode: false, highWaterMark: 1024 * 1024 });
  const gunzipped = createGunzip({ chunkSize: 256 * 1024 });
  source.once('error', (error) => gunzipped.destroy(error));
  source.pipe(gunzipped);
  try {
    yield* gunzipped as AsyncIterable<Buffer>;
  } finally {
    source.destroy();
  }
}

async function* rememberError(input: AsyncIterable<Buffer>, remember: (error: unknown) => void): AsyncGenerator<Buffer> {
  try {
    yield* input;
  } catch (error) {
    remember(error);
    throw error;
  }
}

/**
 * Refuses an image whose tables are damaged or point behind the end of the file: tools read zeros there, so that a
 * truncated image would pass as a complete disk.
 */
export async function checkIntegrity(
  path: string,
  format: ImageFormat,
  { sizeBytes, clusterBytes }: { readonly sizeBytes: number; readonly clusterBytes: number },
  tools: ImageTools,
  signal: AbortSignal,
): Promise<void> {
  if (format !== 'qcow2' && format !== 'vdi' && format !== 'vhdx') return;
  const output = await tools
    .run(['qemu-img', 'check', '-U', '--output=json', '-f', format, path], CHECK_LIMITS, signal)
    .catch((error: unknown) => {
      signal.throwIfAborted();
      throw damaged(format, error);
    });
  // a JSON value of qemu-img, or nothing for a format without a check
  const report = (output.trim().startsWith('{') ? JSON.parse(output) : {}) as {
    corruptions?: number;
    'check-errors'?: number;
    'image-end-offset'?: number;
  };
  if ((report.corruptions ?? 0) + (report['check-errors'] ?? 0) > 0) throw damaged(format, 'qemu-img check found corruptions');
  const end = report['image-end-offset'] ?? 0;
  // the last cluster of a file is often not written to its end
  if (end > sizeBytes + clusterBytes) throw damaged(format, `it should have ${end} bytes and has ${sizeBytes}`);
}

const damaged = (format: ImageFormat, cause: unknown): ImportError =>
  new ImportError(
    'InvalidImage',
    `Unable to process data: the ${format} image is truncated or corrupt (${cause instanceof Error ? cause.message : String(cause)}). Publish the file again`,
    { cause },
  );

interface ImageInfo {
  readonly format?: string;
  readonly 'virtual-size'?: number;
  readonly 'cluster-size'?: number;
  readonly 'backing-filename'?: string;
  readonly 'full-backing-filename'?: string;
  readonly encrypted?: boolean;
  readonly 'format-specific'?: {
    readonly data?: { readonly 'data-file'?: string; readonly extents?: readonly { readonly filename?: string }[] };
  };
}

/** Virtual size of an image that obeys the rules. Throws ImportError for one that does not. */
export async function inspectImage(
  path: string,
  format: ImageFormat,
  maxVirtualBytes: number,
  tools: ImageTools,
  signal: AbortSignal,
): Promise<{ virtualBytes: number; clusterBytes: number }> {
  let info: ImageInfo;
  try {
    // a JSON value of qemu-img; every field that is used is optional
    info = JSON.parse(
      await tools.run(['qemu-img', 'info', '-U', '--output=json', '-f', format, path], INFO_LIMITS, signal),
    ) as ImageInfo;
  } catch (error) {
    signal.throwIfAborted();
    const cause = error instanceof Error ? error.message : String(error);
    throw new ImportError(
      'InvalidImage',
      `Unable to process data: the ${format} image cannot be read (${cause}). Publish the file again`,
      { cause: error },
    );
  }
  refuseForeignFiles(info, path);
  if (info.encrypted)
    throw new ImportError(
      'InvalidImage',
      'The image is encrypted, which imports refuse. Decrypt it with "qemu-img convert" and publish the result',
    );
  const virtualBytes = info['virtual-size'] ?? 0;
  checkVirtualSize(virtualBytes, maxVirtualBytes);
  return { virtualBytes, clusterBytes: info['cluster-size'] ?? 0 };
}

function refuseForeignFiles(info: ImageInfo, path: string): void {
  const data = info['format-specific']?.data;
  const foreign =
    info['full-backing-filename'] ??
    info['backing-filename'] ??
    data?.['data-file'] ??
    data?.extents?.find((extent) => extent.filename !== undefined && extent.filename !== path)?.filename;
  if (foreign !== undefined)
    throw new ImportError(
      'InvalidImage',
      'The image refers to another file, which imports refuse. Flatten it with "qemu-img convert" and publish the result',
    );
}

/** Writes the image as raw into an existing file of holes that is large enough. */
export async function convertToRaw(
  source: { readonly path: string; readonly format: ImageFormat },
  target: string,
  options: {
    readonly onPercent: (percent: number) => void;
    readonly preallocates: boolean;
    /** The target's file system can go without the page cache. */
    readonly isDirect: boolean;
  },
  tools: ImageTools,
  signal: AbortSignal,
): Promise<void> {
  // explicit drivers all the way down: nothing is probed and no file but this one is opened
  const image = JSON.stringify({
    driver: source.format,
    ...((source.format === 'qcow2' || source.format === 'vmdk') && { backing: null }),
    file: { driver: 'file', filename: source.path },
  });
  const sparse = options.preallocates ? ['-S', '0'] : ['--target-is-zero'];
  // the target is written out of order, which costs a raw image nothing; the source was received a moment ago and is cached
  const how = ['-p', '-n', ...sparse, ...(options.isDirect ? ['-t', 'none'] : []), '-W', '-m', '8'];
  const argv = ['qemu-img', 'convert', ...how, '-O', 'raw', `json:${image}`, target] as const;
  const onOutput = (text: string): void => {
    const percent = [...text.matchAll(/\((\d+\.\d+)\/100%\)/g)].at(-1)?.[1];
    if (percent !== undefined) options.onPercent(Number(percent));
  };
  try {
    await tools.run(argv as unknown as readonly [string, ...string[]], { ...CONVERT_LIMITS, onOutput }, signal);
  } catch (error) {
    signal.throwIfAborted();
    const cause = error instanceof Error ? error.message : String(error);
    if (/No space left|quota/i.test(cause)) throw noSpace(error);
    throw new ImportError(
      'InvalidImage',
      `Unable to convert source data to target format: ${cause}. The image may be corrupt: publish it again`,
      { cause: error },
    );
  }
}
