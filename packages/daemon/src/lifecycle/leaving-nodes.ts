import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { LeaseKind, NodeKind } from '@slipway/api';
import { ignoreNotFound, type KubeObject, type ResourceKind } from '@slipway/apimachinery';
import { type Client, createHttpClient, loadKubeconfigs, resolveKubeconfig } from '@slipway/client';
import { hostRunner } from '@slipway/hostapi';
import { destroyNode, listGuests, removeLinkedNode, runnerOfNode } from '@slipway/node';
import { silentLogger } from '@slipway/runtime';
import type { InstanceConfig, NodeInstance } from '../instance/instance-config.ts';
import { saveInstance } from '../instance/instance-store.ts';
import type { InstancePaths } from '../instance/paths.ts';
import type { Progress } from '../progress.ts';
import { UserError } from '../report-failure.ts';
import { stopComponent } from './component.ts';
import { watchdogName } from './component-specs.ts';
import { nodeConfig } from './node-config.ts';
import { stopNodeForGood } from './stop-node.ts';

interface Installation {
  readonly config: InstanceConfig;
  readonly paths: InstancePaths;
}

const LEASE_NAMESPACE = 'kube-node-lease';

/** A node leaves when nothing is on it that would be lost. Throws UserError with what is there. */
export async function requireEmptyNodes(nodes: readonly NodeInstance[], { paths }: Installation): Promise<void> {
  for (const node of nodes) {
    const { stateDir } = paths.node(node.name);
    const guests = (await listGuests({ stateDir })).map(({ namespace, name }) => `${namespace}/${name}`);
    const pools = directoriesIn(join(stateDir, 'pools')).map((pool) => join(stateDir, 'pools', pool, 'volumes'));
    const inPools = pools.flatMap((pool) => (existsSync(pool) ? readdirSync(pool) : []));
    const volumes = directoriesIn(join(stateDir, 'volumes')).length + inPools.length;
    if (guests.length === 0 && volumes === 0) continue;
    const what = [
      ...(guests.length > 0 ? [`runs ${guests.join(', ')}`] : []),
      ...(volumes > 0 ? [`keeps ${volumes} volume(s)`] : []),
    ];
    throw new UserError(
      `Node ${node.name} cannot go: it ${what.join(' and ')}; \`kubectl drain ${node.name} --delete-emptydir-data\` and delete its claims first`,
    );
  }
}

const directoriesIn = (path: string): string[] =>
  existsSync(path)
    ? readdirSync(path, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []))
    : [];

/** Ends everything of a node on this host; its agent must have been stopped. */
export async function removeNode(node: NodeInstance, installation: Installation): Promise<void> {
  const { signal } = new AbortController();
  const runner = await runnerOfNode(node, hostRunner, signal);
  await destroyNode(nodeConfig(node, installation), silentLogger, runner);
  await removeLinkedNode(installation.config.id, node, hostRunner, signal);
}

/** Removes nodes that leave, from this host and from the API, which must answer. Returns the installation without them. */
export async function removeLeavingNodes({ config, paths }: Installation, progress: Progress): Promise<InstanceConfig> {
  const { leaving = [], ...rest } = config;
  if (leaving.length === 0) return config;
  const { client: connection } = await resolveKubeconfig(await loadKubeconfigs([paths.adminKubeconfig]));
  const client = createHttpClient(connection);
  const remove = async <T extends KubeObject>(kind: ResourceKind<T>, namespace: string, name: string): Promise<void> => {
    await client.delete(kind, { namespace, name }).catch(ignoreNotFound);
  };
  try {
    for (const node of leaving) {
      progress.step(`removing node ${node.name}`);
      await cordon(client, node.name);
      await requireEmptyNodes([node], { config, paths });
      await stopNodeForGood(paths, node);
      await remove(NodeKind, '', node.name);
      await remove(LeaseKind, LEASE_NAMESPACE, node.name);
      await removeNode(node, { config, paths });
    }
  } finally {
    await client.close();
  }
  saveInstance(rest, paths);
  // nobody is left that could start guests elsewhere: from now on nothing ends them
  if (rest.nodes.length === 1) for (const node of rest.nodes) await stopComponent(paths, watchdogName(node));
  return rest;
}

/** From now on nothing new comes to the node. */
async function cordon(client: Client, name: string): Promise<void> {
  const patch = { spec: { unschedulable: true } };
  await client.patch(NodeKind, { namespace: '', name }, patch, { type: 'merge' }).catch(ignoreNotFound);
}
