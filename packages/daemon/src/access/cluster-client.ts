import { constants, existsSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { homedir } from 'node:os';
import { createHttpClient, kubeconfigPaths, loadKubeconfigs, resolveKubeconfig } from '@slipway/client';
import { instancePaths } from '../instance/paths.ts';
import { UserError } from '../report-failure.ts';

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
  if (kubeconfig !== undefined && !(await isReadable(kubeconfig)))
    throw new UserError(`--kubeconfig: ${kubeconfig} is not there, or may not be read`, 2);
  const config = await loadKubeconfigs(paths);
  if (config['current-context'] === '') throw new UserError(noCluster(paths, adminKubeconfig), 2);
  const { client, namespace } = await resolveKubeconfig(config);
  return { client: createHttpClient(client), namespace };
}

function noCluster(paths: readonly string[], adminKubeconfig: string): string {
  const isThere = existsSync(adminKubeconfig);
  const remedy = isThere ? `run it with sudo, as ${adminKubeconfig} is for root alone` : 'start one with `slipway up`';
  return `No cluster is named in ${paths.join(', ')}: ${remedy}, or give --data-dir or --kubeconfig`;
}

const isReadable = (path: string): Promise<boolean> =>
  access(path, constants.R_OK).then(
    () => true,
    () => false,
  );
