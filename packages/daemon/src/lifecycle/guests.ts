import { stopGuests } from '@slipway/node';
import { allNodes, type InstanceConfig } from '../instance/instance-config.ts';
import type { InstancePaths } from '../instance/paths.ts';
import type { Progress } from '../progress.ts';
import { nodeConfig } from './node-config.ts';

/** A guest that does not react to its power button in this time is ended by force. */
const GRACE_MS = 120_000;

/** Shuts down the guests of every node; run it when the agents are stopped. */
export async function stopAllGuests(
  { config, paths }: { config: InstanceConfig; paths: InstancePaths },
  progress: Progress,
): Promise<void> {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort(new Error('Interrupted; guests that still run keep running')));
  for (const node of allNodes(config)) {
    progress.step(`shutting down the guests of ${node.name}`);
    await stopGuests(nodeConfig(node, { config, paths }), GRACE_MS, stop.signal);
  }
}
