import { compareQuantities, parseQuantity } from '@slipway/apimachinery';
import type { Node, PersistentVolume, PersistentVolumeClaim, Pod, StorageClass } from '@slipway/api';
import { matchesNodeSelector } from './node-selection.ts';

export const SELECTED_NODE = 'volume.kubernetes.io/selected-node';
const NO_PROVISIONER = 'kubernetes.io/no-provisioner';

export interface VolumeFacts {
  claim(namespace: string, name: string): PersistentVolumeClaim | undefined;
  volume(name: string): PersistentVolume | undefined;
  /** Volumes that no claim has taken. */
  availableVolumes(storageClass: string): readonly PersistentVolume[];
  storageClass(name: string): StorageClass | undefined;
}

/** A claim that gets its volume when the pod's node is known. */
export interface DelayedClaim {
  readonly claim: PersistentVolumeClaim;
  /** Where an earlier decision sent it. */
  readonly selectedNode: string | undefined;
  readonly candidates: readonly PersistentVolume[];
  readonly canProvision: boolean;
}

/** What the volumes of a pod mean for its place. */
export interface PodVolumes {
  /** Keeps the pod from every node. */
  readonly error?: string;
  readonly bound: readonly PersistentVolume[];
  readonly delayed: readonly DelayedClaim[];
}

/** Names of the claims a pod mounts, generic ephemeral volumes included. */
export function claimNames(pod: Pod): readonly string[] {
  return (pod.spec?.volumes ?? []).flatMap((volume) => {
    if (volume.persistentVolumeClaim) return [volume.persistentVolumeClaim.claimName];
    return volume.ephemeral ? [`${pod.metadata.name}-${volume.name}`] : [];
  });
}

export function volumesOf(pod: Pod, facts: VolumeFacts): PodVolumes {
  const bound: PersistentVolume[] = [];
  const delayed: DelayedClaim[] = [];
  let isWaiting = false;
  for (const name of claimNames(pod)) {
    const claim = facts.claim(pod.metadata.namespace ?? '', name);
    if (claim === undefined) return { error: `persistentvolumeclaim "${name}" not found`, bound, delayed };
    if (claim.metadata.deletionTimestamp) return { error: `persistentvolumeclaim "${name}" is being deleted`, bound, delayed };
    if (claim.status?.phase === 'Lost') {
      return {
        error: `persistentvolumeclaim "${name}" bound to non-existent persistentvolume "${claim.spec?.volumeName}"`,
        bound,
        delayed,
      };
    }
    const volume = claim.spec?.volumeName ? facts.volume(claim.spec.volumeName) : undefined;
    if (volume && claim.status?.phase === 'Bound') {
      bound.push(volume);
      continue;
    }
    const storageClass = facts.storageClass(claim.spec?.storageClassName ?? '');
    if (storageClass?.volumeBindingMode !== 'WaitForFirstConsumer' || claim.spec?.volumeName) isWaiting = true;
    else delayed.push(delayedClaim(claim, storageClass, facts));
  }
  return isWaiting ? { error: 'pod has unbound immediate PersistentVolumeClaims', bound, delayed } : { bound, delayed };
}

function delayedClaim(claim: PersistentVolumeClaim, storageClass: StorageClass, facts: VolumeFacts): DelayedClaim {
  return {
    claim,
    selectedNode: claim.metadata.annotations?.[SELECTED_NODE],
    candidates: facts.availableVolumes(storageClass.metadata.name ?? '').filter((volume) => fitsClaim(volume, claim)),
    canProvision: storageClass.provisioner !== NO_PROVISIONER,
  };
}

/** Whether a volume that is free, or reserved for this claim, has what the claim asks for. */
export function fitsClaim(volume: PersistentVolume, claim: PersistentVolumeClaim): boolean {
  const { spec = {} } = volume;
  const reserved = spec.claimRef;
  if (reserved && (reserved.namespace !== claim.metadata.namespace || reserved.name !== claim.metadata.name)) return false;
  if (reserved?.uid && reserved.uid !== claim.metadata.uid) return false;
  if (volume.metadata.deletionTimestamp || (spec.storageClassName ?? '') !== (claim.spec?.storageClassName ?? '')) return false;
  if ((spec.volumeMode ?? 'Filesystem') !== (claim.spec?.volumeMode ?? 'Filesystem')) return false;
  if (!(claim.spec?.accessModes ?? []).every((mode) => spec.accessModes?.includes(mode))) return false;
  const wanted = parseQuantity(String(claim.spec?.resources?.requests?.['storage'] ?? '0'));
  return compareQuantities(parseQuantity(String(spec.capacity?.['storage'] ?? '0')), wanted) >= 0;
}

export function isReachable(volume: PersistentVolume, node: Node): boolean {
  const required = volume.spec?.nodeAffinity?.required;
  return required === undefined || matchesNodeSelector(required.nodeSelectorTerms, node);
}

/** Why the pod's volumes keep it from a node. */
export function volumeFilter({ bound, delayed }: PodVolumes): (node: Node) => string | undefined {
  return (node) => {
    if (!bound.every((volume) => isReachable(volume, node))) return 'node(s) had volume node affinity conflict';
    const isPossible = delayed.every(({ selectedNode, candidates, canProvision }) => {
      if (selectedNode !== undefined) return selectedNode === node.metadata.name;
      return canProvision || candidates.some((volume) => isReachable(volume, node));
    });
    return isPossible ? undefined : "node(s) didn't find available persistent volumes to bind";
  };
}
