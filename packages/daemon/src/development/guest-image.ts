import { join } from 'node:path';
import { buildGuestImage, type GuestImage, type GuestImageKind } from '@slipway/guest-images';
import { hostRunner } from '@slipway/hostapi';
import { checkoutRoot } from '../checkout.ts';
import { ensureHostPackages, GUEST_PACKAGES } from '../host-packages.ts';
import { createProgress, type Progress } from '../progress.ts';
import { UserError } from '../report-failure.ts';

const KINDS: readonly GuestImageKind[] = ['tiny', 'tiny-generic', 'debian'];

/** `slipway dev guest-image KIND`: prints the files of a built (or cached) guest as JSON. */
export async function guestImage(kind: string): Promise<void> {
  const known = KINDS.find((name) => name === kind);
  if (known === undefined) throw new UserError(`There is no guest ${kind}; there are ${KINDS.join(', ')}`);
  const progress = createProgress(process.stderr, Date.now);
  await ensureHostPackages(GUEST_PACKAGES, { yes: true, progress });
  console.log(JSON.stringify(await buildImage(known, progress)));
}

export async function buildImage(kind: GuestImageKind, progress: Progress): Promise<GuestImage> {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort(new Error('Interrupted')));
  progress.step(`building the ${kind} guest image`);
  const image = await buildGuestImage(
    {
      kind,
      cacheDir: join(checkoutRoot(), '.cache/guest-images'),
      runner: hostRunner,
      onProgress: (message) => progress.detail(message),
    },
    stop.signal,
  );
  progress.done();
  return image;
}
