import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import type { OwnerReference } from '@slipway/apimachinery';
import { VmiCondition } from '@slipway/api';
import { hasCondition, isDeleting, isFinal } from '../virtual-machine-instance/instance-state.ts';

type ReplicaSet = kubevirt.VirtualMachineInstanceReplicaSet;

/** Creations and deletions in one pass. */
const BURST = 250;

export interface ReplicaPlan {
  readonly create: number;
  readonly remove: readonly VirtualMachineInstance[];
}

/** What brings the set to its number of replicas. Ended instances are replaced; a paused set is left as it is. */
export function planReplicas(set: ReplicaSet, owned: readonly VirtualMachineInstance[]): ReplicaPlan {
  if (set.spec.paused === true || isDeleting(set)) return { create: 0, remove: [] };
  const present = owned.filter((vmi) => !isDeleting(vmi));
  const ended = present.filter(isFinal);
  const active = present.filter((vmi) => !isFinal(vmi));
  const surplus = active.length - (set.spec.replicas ?? 1);
  const removable = surplus > 0 ? [...active].sort(leastMissedFirst).slice(0, surplus) : [];
  return { create: Math.min(BURST, Math.max(0, -surplus)), remove: [...ended, ...removable].slice(0, BURST) };
}

/** The guest runs and is ready. */
export const isReady = (vmi: VirtualMachineInstance): boolean => hasCondition(vmi, VmiCondition.ready);

/** Instances that are not ready go first, then the youngest. */
function leastMissedFirst(left: VirtualMachineInstance, right: VirtualMachineInstance): number {
  if (isReady(left) !== isReady(right)) return isReady(left) ? 1 : -1;
  return (right.metadata.creationTimestamp ?? '').localeCompare(left.metadata.creationTimestamp ?? '');
}

/** A new member of the set. */
export function memberOf(set: ReplicaSet, reference: OwnerReference): VirtualMachineInstance {
  const { metadata, spec } = set.spec.template;
  const { name = '', namespace = '' } = set.metadata;
  // the published metadata type allows any JSON where the API allows text
  const labels = { ...metadata?.labels } as Record<string, string>;
  const annotations = { ...metadata?.annotations } as Record<string, string>;
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: { generateName: name, namespace, labels, annotations, ownerReferences: [reference] },
    spec: structuredClone(spec ?? { domain: { devices: {} } }),
  };
}
