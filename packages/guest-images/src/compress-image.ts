import { access, link, rename, rm } from 'node:fs/promises';
import type { CommandRunner } from '@slipway/hostapi';
import { buildHost } from './build-host.ts';
import type { GuestImage } from './build-guest-image.ts';
import { ensureTools } from './host-tools.ts';

/**
 * The raw disk compressed, made when it is first asked for and kept beside the image. Returns its path.
 */
export async function compressImage(
  image: GuestImage,
  format: 'gz' | 'xz',
  runner: CommandRunner,
  signal: AbortSignal,
): Promise<string> {
  const path = `${image.rawPath}.${format}`;
  const present = await access(path).then(
    () => true,
    () => false,
  );
  if (present) return path;
  const host = buildHost(runner, () => {});
  await ensureTools(
    host,
    [format === 'xz' ? { program: 'xz', package: 'xz-utils' } : { program: 'gzip', package: 'gzip' }],
    signal,
  );
  // its own name per process: two builders must not write into one file
  const temporary = `${image.rawPath}.${process.pid}`;
  await link(image.rawPath, temporary);
  try {
    const argv =
      format === 'xz'
        ? (['xz', '-1', '-T0', '-k', '-f', temporary] as const)
        : (['gzip', '-1', '-n', '-k', '-f', temporary] as const);
    await host.run(argv, { signal });
    await rename(`${temporary}.${format}`, path);
  } finally {
    await rm(temporary, { force: true });
    await rm(`${temporary}.${format}`, { force: true });
  }
  return path;
}
