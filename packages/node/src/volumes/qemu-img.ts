import { streamProcess } from '@slipway/hostapi';

/** The few things the agent itself asks of qemu-img; as root it never opens an image that a tenant made. */
export interface QemuImg {
  /** A new, empty image above `base`, which is named relative to the directory of both. */
  createOverlay(
    overlay: {
      readonly path: string;
      readonly base: string;
      readonly baseFormat: 'raw' | 'qcow2';
      readonly sizeBytes: number;
      readonly directory: string;
    },
    signal: AbortSignal,
  ): Promise<void>;
  resize(path: string, format: 'raw' | 'qcow2', sizeBytes: number, signal: AbortSignal): Promise<void>;
  /** Writes what a chain of images shows, top first, into a raw file of zeros, as the user `uid`; holes stay holes. */
  flatten(
    copy: {
      readonly chain: readonly { readonly path: string; readonly format: 'raw' | 'qcow2' }[];
      readonly target: string;
      readonly uid: number;
    },
    signal: AbortSignal,
  ): Promise<void>;
  /** Writes an overlay into the image below it, as the user `uid`; the overlay stays as it is. */
  commit(
    overlay: {
      readonly path: string;
      /** All images below, nearest first: what the files say of them is not believed. */
      readonly chain: readonly { readonly path: string; readonly format: 'raw' | 'qcow2' }[];
      readonly uid: number;
    },
    signal: AbortSignal,
  ): Promise<void>;
}

const LIMITS = ['prlimit', '--as=1073741824', '--cpu=60', '--core=0', '--'] as const;

export const hostQemuImg: QemuImg = {
  // -u: the base is not opened, so that nothing of it is interpreted here
  createOverlay: ({ path, base, baseFormat, sizeBytes }, signal) =>
    run(
      [...LIMITS, 'qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-F', baseFormat, '-b', base, path, String(sizeBytes)],
      signal,
    ),
  resize: (path, format, sizeBytes, signal) =>
    run([...LIMITS, 'qemu-img', 'resize', '-q', '-f', format, path, String(sizeBytes)], signal),
  flatten: ({ chain, target, uid }, signal) => {
    const convert = ['qemu-img', 'convert', '-q', '-n', '--target-is-zero', '-O', 'raw', '--image-opts'] as const;
    return run([...asUser(uid), ...COPY_LIMITS, ...convert, imageOptions(chain), target], signal);
  },
  commit: ({ path, chain, uid }, signal) => {
    const image = imageOptions([{ path, format: 'qcow2' }, ...chain]);
    return run([...asUser(uid), ...COPY_LIMITS, 'qemu-img', 'commit', '-q', '-d', '--image-opts', image], signal);
  },
};

const asUser = (uid: number) =>
  ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--no-new-privs', '--'] as const;

const COPY_LIMITS = ['prlimit', '--as=2147483648', '--core=0', '--'] as const;

/** The images with everything below them, so that no name inside a file is followed. */
function imageOptions(chain: readonly { readonly path: string; readonly format: string }[]): string {
  return chain
    .flatMap(({ path, format }, depth) => {
      const at = 'backing.'.repeat(depth);
      return [`${at}driver=${format}`, `${at}file.driver=file`, `${at}file.filename=${path.replaceAll(',', ',,')}`];
    })
    .join(',');
}

async function run(argv: readonly [string, ...string[]], signal: AbortSignal): Promise<void> {
  const started = streamProcess(argv, signal);
  started.stdin.end();
  started.stdout.resume();
  await started.done;
}
