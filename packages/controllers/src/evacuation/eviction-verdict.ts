import type { Pod, VirtualMachineInstance } from '@slipway/api';
import { VmiCondition } from '@slipway/api';
import { hasCondition, isFinal } from '../virtual-machine-instance/instance-state.ts';
import { hasEnded, isMigrationTarget } from '../virtual-machine-instance/launcher-pod-state.ts';

/** What becomes of an eviction. */
export type EvictionVerdict =
  | { readonly type: 'evict' }
  | { readonly type: 'deny'; readonly message: string }
  /** The guest is asked to move; the pod is gone when it has. */
  | { readonly type: 'move'; readonly message: string };

const EVICT: EvictionVerdict = { type: 'evict' };

/** The strategy of an instance: its own, else the cluster's. */
export function evictionStrategyOf({ spec }: VirtualMachineInstance, ofCluster: string | undefined): string {
  return spec.evictionStrategy ?? ofCluster ?? 'None';
}

export const isMigratable = (vmi: VirtualMachineInstance): boolean => hasCondition(vmi, VmiCondition.liveMigratable);

/** Decides on the eviction of a launcher pod. Pure. */
export function evictionVerdict(
  pod: Pod,
  vmi: VirtualMachineInstance | undefined,
  ofCluster: string | undefined,
): EvictionVerdict {
  if (vmi === undefined || hasEnded(pod) || isFinal(vmi)) return EVICT;
  const { nodeName, evacuationNodeName } = vmi.status ?? {};
  // the guest is not in this pod (yet): taking it away would fail the migration
  if (isMigrationTarget(pod) && pod.spec?.nodeName !== nodeName)
    return { type: 'deny', message: 'Eviction request for target Pod' };
  if (!wantsToMove(vmi, ofCluster)) return EVICT;
  if (evictionStrategyOf(vmi, ofCluster) === 'LiveMigrate' && !isMigratable(vmi))
    return {
      type: 'deny',
      message: `VMI ${vmi.metadata.name} is configured with an eviction strategy but is not live-migratable`,
    };
  const message = `Eviction triggered evacuation of VMI "${vmi.metadata.namespace}/${vmi.metadata.name}"`;
  if (evacuationNodeName === pod.spec?.nodeName) return { type: 'deny', message: `Evacuation in progress: ${message}` };
  return { type: 'move', message };
}

function wantsToMove(vmi: VirtualMachineInstance, ofCluster: string | undefined): boolean {
  const strategy = evictionStrategyOf(vmi, ofCluster);
  return strategy === 'LiveMigrate' || strategy === 'External' || (strategy === 'LiveMigrateIfPossible' && isMigratable(vmi));
}
