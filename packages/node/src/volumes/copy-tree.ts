import { chown, mkdir, rm } from 'node:fs/promises';
import { streamProcess } from '@slipway/hostapi';

/**
 * Copies a tree with the rights of one user, who can read the source and gets the copy. What stands in its place is
 * removed first.
 */
export async function copyTree(from: string, to: string, uid: number, signal: AbortSignal): Promise<void> {
  await rm(to, { recursive: true, force: true });
  await mkdir(to, { mode: 0o700 });
  await chown(to, uid, uid);
  const user = ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--no-new-privs', '--'] as const;
  // links are copied as links: nothing outside the tree is read
  const started = streamProcess([...user, 'cp', '-r', '-P', '--preserve=mode,timestamps', '--', `${from}/.`, to], signal);
  started.stdin.end();
  started.stdout.resume();
  await started.done;
}
