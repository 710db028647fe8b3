import { streamProcess } from '@slipway/hostapi';

/** The few things the agent itself asks of qemu-img; it never opens an image that a tenant made. */
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
};

async function run(argv: readonly [string, ...string[]], signal: AbortSignal): Promise<void> {
  const started = streamProcess(argv, signal);
  started.stdin.end();
  started.stdout.resume();
  await started.done;
}
