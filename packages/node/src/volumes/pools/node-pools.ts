import { type HostPathProvisioner, HostPathProvisionerKind, NodeKind } from '@slipway/api';
import type { ControllerDeps } from '@slipway/runtime';
import { type DeclaredPool, declaredPools } from './pool.ts';

export type DeclaredPools = (signal: AbortSignal) => Promise<readonly DeclaredPool[]>;

/** What the cluster declares for one node at the moment of the call. */
export function nodePools({ client, informers }: Pick<ControllerDeps, 'client' | 'informers'>, nodeName: string): DeclaredPools {
  const provisioners = informers.lister(HostPathProvisionerKind);
  return async (signal) => {
    const found = provisioners.list();
    if (found.every((provisioner) => isFor(provisioner, {}))) return declaredPools(found);
    const { metadata } = await client.get(NodeKind, { namespace: '', name: nodeName }, { signal });
    return declaredPools(found.filter((provisioner) => isFor(provisioner, metadata.labels ?? {})));
  };
}

/** Whether the workload of the provisioner may run on a node with these labels. Pure. */
export const isFor = ({ spec }: HostPathProvisioner, labels: Readonly<Record<string, string>>): boolean =>
  Object.entries(spec?.workload?.nodeSelector ?? {}).every(([key, value]) => labels[key] === value);
