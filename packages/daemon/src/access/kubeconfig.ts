import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname } from 'node:path';
import { kubeconfigPaths, loadKubeconfigs, overlayKubeconfig, parseKubeconfig, renderKubeconfig } from '@slipway/client';
import { replaceFile } from '@slipway/hostapi';
import { requireInstance } from '../instance/instance-store.ts';
import { makeDirectories } from '../make-directories.ts';

/** `slipway kubeconfig`: prints the administrator's, or merges it into the user's own and switches to it. */
export async function kubeconfig(options: { dataDir: string; merge?: boolean }): Promise<void> {
  const { paths } = requireInstance(options.dataDir);
  const text = readFileSync(paths.adminKubeconfig, 'utf8');
  if (!options.merge) {
    process.stdout.write(text);
    return;
  }
  const [target = ''] = kubeconfigPaths({
    home: homedir(),
    ...(process.env['KUBECONFIG'] && { variable: process.env['KUBECONFIG'] }),
  });
  const merged = overlayKubeconfig(await loadKubeconfigs([target]), parseKubeconfig(text, dirname(paths.adminKubeconfig)));
  makeDirectories(dirname(target), 0o700);
  replaceFile(target, renderKubeconfig(merged), 0o600);
  console.error(`Merged into ${target}; the current context is ${merged['current-context']}`);
}
