import { allNodes } from '../instance/instance-config.ts';
import { requireInstance } from '../instance/instance-store.ts';
import { createProgress } from '../progress.ts';
import { SERVER } from './component-specs.ts';
import { findComponent, stopComponent } from './component.ts';
import { stopAllGuests } from './guests.ts';
import { stopNode } from './stop-node.ts';

/** `slipway down`: agents first, so that the server hears their last words; guests keep running unless asked otherwise. */
export async function down(options: { dataDir: string; guests?: boolean }): Promise<void> {
  const { config, paths } = requireInstance(options.dataDir);
  const progress = createProgress(process.stderr, Date.now);
  const running = [SERVER, ...allNodes(config).map((node) => node.name)].filter(
    (name) => findComponent(paths, name) !== undefined,
  );
  for (const node of allNodes(config)) {
    progress.step(`stopping the agent of ${node.name}`);
    if (!(await stopNode(paths, node)))
      progress.step(`${node.name} could not tell the server: its guests end in time unless it is started again`);
  }
  progress.step('stopping the server');
  await stopComponent(paths, SERVER);
  if (options.guests) await stopAllGuests({ config, paths }, progress);
  progress.done(running.length === 0 ? 'It was not running.' : options.guests ? 'Stopped.' : 'Stopped; guests keep running.');
}
