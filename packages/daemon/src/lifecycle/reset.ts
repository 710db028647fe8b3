import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { hostRunner } from '@slipway/hostapi';
import { removeInstanceLink } from '@slipway/node';
import { allNodes } from '../instance/instance-config.ts';
import { canonicalDataDir, loadInstance } from '../instance/instance-store.ts';
import { createProgress } from '../progress.ts';
import { UserError } from '../report-failure.ts';
import { stopComponent } from './component.ts';
import { SERVER } from './component-specs.ts';
import { removeNode } from './leaving-nodes.ts';
import { stopNodeForGood } from './stop-node.ts';

/** `slipway reset`: ends and removes everything that belongs to the installation; safe to repeat after an interruption. */
export async function reset(options: { dataDir: string; yes?: boolean }): Promise<void> {
  if (process.getuid?.() !== 0) throw new UserError('Guests and networks belong to root; run it with sudo');
  const instance = loadInstance(options.dataDir);
  const progress = createProgress(process.stderr, Date.now);
  if (instance === undefined) {
    progress.done(`There is no installation in ${canonicalDataDir(options.dataDir)}.`);
    return;
  }
  if (!options.yes) await confirm(instance.paths.dataDir);
  const { config, paths } = instance;
  for (const node of allNodes(config)) {
    progress.step(`stopping the agent of ${node.name}`);
    await stopNodeForGood(paths, node);
  }
  progress.step('stopping the server');
  await stopComponent(paths, SERVER);
  for (const node of allNodes(config)) {
    progress.step(`removing guests and networks of ${node.name}`);
    await removeNode(node, instance);
  }
  if (config.link !== undefined)
    await removeInstanceLink({ id: config.id, nodes: allNodes(config) }, hostRunner, new AbortController().signal);
  progress.step('removing data');
  // The configuration goes last: as long as it is there, reset can be repeated.
  for (const path of [
    paths.server,
    `${paths.dataDir}/nodes`,
    `${paths.dataDir}/bin`,
    paths.logs,
    paths.run,
    paths.adminKubeconfig,
  ])
    rmSync(path, { recursive: true, force: true });
  rmSync(paths.dataDir, { recursive: true, force: true });
  progress.done('Everything is removed.');
}

async function confirm(dataDir: string): Promise<void> {
  if (!process.stdin.isTTY) throw new UserError('reset removes every VM and disk; confirm it with --yes');
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await prompt.question(`Remove every VM, disk and setting in ${dataDir}? Type yes: `);
  prompt.close();
  if (answer.trim() !== 'yes') throw new UserError('Nothing was removed');
}
