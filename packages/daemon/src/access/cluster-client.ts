import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { homedir } from 'node:os';
import { createHttpClient, kubeconfigPaths, loadKubeconfigs, resolveKubeconfig } from '@slipway/client';
import { instancePaths } from '../instance/paths.ts';

export interface ClusterOptions {
  readonly dataDir: string;
  readonly kubeconfig?: string;
}

/** A cluster, and the namespace that the kubeconfig means when a command names none. */
export interface Cluster {
  readonly client: ReturnType<typeof createHttpClient>;
  readonly namespace: string;
}

/**
 * Connects as whoever calls: with the kubeconfig that is named, else as the administrator of the installation where its
 * kubeconfig may be read, else with the caller's own kubeconfig. The client is to be closed.
 */
export async function connectCluster({ dataDir, kubeconfig }: ClusterOptions): Promise<Cluster> {
  const { adminKubeconfig } = instancePaths(dataDir);
  const isAdmin = kubeconfig === undefined && (await isReadable(adminKubeconfig));
  const variable = process.env['KUBECONFIG'];
  const own = kubeconfigPaths({ home: homedir(), ...(variable && { variable }) });
  const paths = kubeconfig === undefined ? (isAdmin ? [adminKubeconfig] : own) : [kubeconfig];
  const { client, namespace } = await resolveKubeconfig(await loadKubeconfigs(paths));
  return { client: createHttpClient(client), namespace };
}

const isReadable = (path: string): Promise<boolean> =>
  access(path, constants.R_OK).then(
    () => true,
    () => false,
  );
