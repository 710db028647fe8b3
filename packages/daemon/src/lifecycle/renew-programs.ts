import type { NodeInstance } from '../instance/instance-config.ts';
import type { InstancePaths } from '../instance/paths.ts';
import type { Progress } from '../progress.ts';
import { type ComponentSpec, isOutdated, stopComponent } from './component.ts';
import { stopNode } from './stop-node.ts';

/** A component with the time it may take to start. */
export interface StartSpec {
  readonly spec: ComponentSpec;
  readonly readyMs: number;
}

export interface PlatformSpecs {
  readonly server: StartSpec;
  readonly nodes: readonly { readonly node: NodeInstance; readonly agent: StartSpec; readonly watchdog: StartSpec | undefined }[];
}

/**
 * Starts again what runs from an older build or with other options: the server, which knows agents of the build before,
 * then one agent after the other, so that the other nodes are never without theirs. Guests go on meanwhile.
 */
export async function renewPrograms(
  { server, nodes }: PlatformSpecs,
  paths: InstancePaths,
  start: (specs: readonly StartSpec[]) => Promise<void>,
  progress: Progress,
): Promise<void> {
  if (isOutdated(paths, server.spec)) {
    progress.step('restarting the server from its new build');
    await stopComponent(paths, server.spec.name);
    await start([server]);
  }
  for (const { node, agent, watchdog } of nodes) {
    if (!isOutdated(paths, agent.spec) && !(watchdog && isOutdated(paths, watchdog.spec))) continue;
    progress.step(`restarting the agent of ${node.name} with its new build or options`);
    await stopNode(paths, node);
    await start(watchdog ? [agent, watchdog] : [agent]);
  }
}
