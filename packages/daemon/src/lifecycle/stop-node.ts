import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fenceDirectory } from '@slipway/node';
import type { NodeInstance } from '../instance/instance-config.ts';
import type { InstancePaths } from '../instance/paths.ts';
import { stopComponent } from './component.ts';
import { watchdogName } from './component-specs.ts';

/**
 * Stops a node's agent, and its watchdog when the server knows that guests go on without: else it might start them
 * elsewhere. False when the watchdog had to stay.
 */
export async function stopNode(paths: InstancePaths, node: NodeInstance): Promise<boolean> {
  await stopComponent(paths, node.name);
  if (existsSync(join(fenceDirectory(paths.node(node.name).stateDir), 'deadlines'))) return false;
  await stopComponent(paths, watchdogName(node));
  return true;
}

/** The same when the node's guests are ended next. */
export async function stopNodeForGood(paths: InstancePaths, node: NodeInstance): Promise<void> {
  await stopComponent(paths, node.name);
  await stopComponent(paths, watchdogName(node));
}
