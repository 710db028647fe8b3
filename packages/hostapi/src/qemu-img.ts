import { isAbsolute } from 'node:path';
import type { CommandRunner } from './command-runner.ts';

export type ImageFormat = 'raw' | 'qcow2';

export interface ImageInfo {
  readonly format: string;
  readonly virtualSizeBytes: number;
  /** Space that the file takes on the disk. */
  readonly actualSizeBytes: number;
  /** Another file that this image reads from; an untrusted image with one must be refused. */
  readonly backingFile: string | undefined;
  /** External data file of a qcow2; an untrusted image with one must be refused. */
  readonly dataFile: string | undefined;
  readonly isCorrupt: boolean;
  readonly isEncrypted: boolean;
}

export interface CreateOptions {
  readonly path: string;
  readonly format: ImageFormat;
  /** Optional for an overlay: then it is the backing file's. */
  readonly sizeBytes?: number;
  readonly backing?: { readonly path: string; readonly format: ImageFormat };
  readonly preallocation?: 'off' | 'metadata' | 'falloc' | 'full';
}

export interface ConvertOptions {
  readonly source: string;
  /** Detected once and given ever after; never probed here. */
  readonly sourceFormat: string;
  readonly target: string;
  readonly targetFormat: ImageFormat;
  /** The target exists already and keeps its size (`-n`). */
  readonly targetExists?: boolean;
  /** Reads through the backing file: only for overlays that the platform made itself. */
  readonly followBacking?: boolean;
  /** Out-of-order writes; only for targets that need not be sequential. */
  readonly outOfOrder?: boolean;
}

/** `qemu-img` with explicit formats; time limits fit the operation. */
export interface QemuImg {
  /** Without a format the image is probed: only for images that are being identified for the first time. */
  info(path: string, format: string | undefined, signal: AbortSignal): Promise<ImageInfo>;
  create(options: CreateOptions, signal: AbortSignal): Promise<void>;
  convert(options: ConvertOptions, signal: AbortSignal): Promise<void>;
  /** Grows only: shrinking is refused by qemu-img. */
  resize(path: string, format: ImageFormat, sizeBytes: number, signal: AbortSignal): Promise<void>;
}

interface RawInfo {
  format?: string;
  'virtual-size'?: number;
  'actual-size'?: number;
  'backing-filename'?: string;
  'full-backing-filename'?: string;
  encrypted?: boolean;
  'format-specific'?: { data?: { 'data-file'?: string; corrupt?: boolean } };
}

/** Typed view of `qemu-img info --output=json`. */
export function parseImageInfo(text: string): ImageInfo {
  // qemu-img documents this shape; every field is checked before use
  const raw = JSON.parse(text) as RawInfo;
  const specific = raw['format-specific']?.data;
  return {
    format: raw.format ?? 'raw',
    virtualSizeBytes: raw['virtual-size'] ?? 0,
    actualSizeBytes: raw['actual-size'] ?? 0,
    backingFile: raw['full-backing-filename'] ?? raw['backing-filename'],
    dataFile: specific?.['data-file'],
    isCorrupt: specific?.corrupt ?? false,
    isEncrypted: raw.encrypted ?? false,
  };
}

const INFO_TIMEOUT_MS = 30_000;
const CREATE_TIMEOUT_MS = 60_000;
const CONVERT_TIMEOUT_MS = 6 * 3_600_000;
/** Address space and processor time of a tool that reads an image nobody has checked. */
const LIMITS = ['prlimit', '--as=2000000000', '--cpu=30', '--'] as const;

/** A relative name could be taken for a protocol (`json:…`, `http:…`) or an option. */
function checkedPath(path: string): string {
  if (!isAbsolute(path)) throw new Error(`Image path "${path}" is not absolute`);
  return path;
}

/** An image opened with exactly this driver, and with another file below it only when that is trusted. */
function imageNode(path: string, format: string, followBacking: boolean): string {
  const noBacking = format === 'qcow2' && !followBacking ? { backing: null } : {};
  return `json:${JSON.stringify({ driver: format, ...noBacking, file: { driver: 'file', filename: checkedPath(path) } })}`;
}

/** `qemu-img` through a runner. */
export function qemuImg(runner: CommandRunner): QemuImg {
  return {
    async info(path, format, signal) {
      const chosen = format === undefined ? [] : ['-f', format];
      const argv = [...LIMITS, 'qemu-img', 'info', '-U', '--output=json', ...chosen, checkedPath(path)] as const;
      const { stdout } = await runner.run(argv, { timeoutMs: INFO_TIMEOUT_MS }, signal);
      return parseImageInfo(stdout);
    },
    async create({ path, format, sizeBytes, backing, preallocation }, signal) {
      const options = [
        ...(preallocation === undefined ? [] : ['-o', `preallocation=${preallocation}`]),
        ...(backing === undefined ? [] : ['-F', backing.format, '-b', checkedPath(backing.path)]),
      ];
      const size = sizeBytes === undefined ? [] : [String(sizeBytes)];
      const argv = ['qemu-img', 'create', '-q', '-f', format, ...options, checkedPath(path), ...size] as const;
      await runner.run(argv, { timeoutMs: CREATE_TIMEOUT_MS }, signal);
    },
    async convert({ source, sourceFormat, target, targetFormat, targetExists, followBacking, outOfOrder }, signal) {
      const flags = [...(targetExists ? ['-n'] : []), ...(outOfOrder ? ['-W', '-m', '8'] : [])];
      const image = imageNode(source, sourceFormat, followBacking ?? false);
      const argv = ['qemu-img', 'convert', '-q', ...flags, '-O', targetFormat, image, checkedPath(target)] as const;
      await runner.run(argv, { timeoutMs: CONVERT_TIMEOUT_MS }, signal);
    },
    async resize(path, format, sizeBytes, signal) {
      const argv = ['qemu-img', 'resize', '-q', '-f', format, checkedPath(path), String(sizeBytes)] as const;
      await runner.run(argv, { timeoutMs: CREATE_TIMEOUT_MS }, signal);
    },
  };
}
