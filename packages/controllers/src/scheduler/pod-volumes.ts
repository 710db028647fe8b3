import type { Node, PersistentVolume, PersistentVolumeClaim, Pod, StorageClass } from '@slipway/api';
import { SELECTED_NODE } from '../persistent-volume/claim-annotations.ts';
import { nodesOfCloneSource, type SourceFacts } from '../persistent-volume/clone-source.ts';
import { fitsClaim } from '../persistent-volume/volume-match.ts';
import { matchesNodeSelector } from './node-selection.ts';

const NO_PROVISIONER = 'kubernetes.io/no-provisioner';

export interface VolumeFacts extends SourceFacts {
  /** Volumes that no claim has taken. */
  availableVolumes(storageClass: string): readonly PersistentVolume[];
  storageClass(name: string): StorageClass | undefined;
}

/** A claim that gets its volume when the pod's node is known. */
export interface DelayedClaim {
  readonly claim: PersistentVolumeClaim;
  /** Where an earlier decision sent it. */
  readonly selectedNode: string | undefined;
  /** Where the volume it is cloned from is; undefined when it is no clone. */
  readonly sourceNodes: readonly string[] | undefined;
  readonly candidates: readonly PersistentVolume[];
  /** Name of the provisioner that can make it a volume. */
  readonly provisioner: string | undefined;
}

/** What the volumes of a pod mean for its place. */
export interface PodVolumes {
  /** Keeps the pod from every node. */
  readonly error?: string;
  /** Claim and volume have found each other and only the last writes of the binding are missing. */
  readonly isBinding?: boolean;
  readonly bound: readonly PersistentVolume[];
  readonly delayed: readonly DelayedClaim[];
  /** Claims that no other pod may use: ReadWriteOncePod. */
  readonly forOnePod?: readonly string[];
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
  const forOnePod: string[] = [];
  let error: string | undefined;
  let isBinding = false;
  for (const name of claimNames(pod)) {
    const claim = facts.claim(pod.metadata.namespace ?? '', name);
    const problem = claimProblem(name, claim);
    if (problem !== undefined || claim === undefined) return { error: problem ?? '', bound, delayed };
    if (isForOnePod(claim)) forOnePod.push(name);
    const volume = boundVolume(claim, facts);
    const storageClass = facts.storageClass(claim.spec?.storageClassName ?? '');
    if (volume) bound.push(volume);
    else if (claim.spec?.volumeName) isBinding = true;
    else if (storageClass && isDelayed(claim, storageClass)) delayed.push(delayedClaim(claim, storageClass, facts));
    else error = 'pod has unbound immediate PersistentVolumeClaims';
  }
  return { bound, delayed, isBinding, forOnePod, ...(error !== undefined && { error }) };
}

const isForOnePod = ({ spec }: PersistentVolumeClaim): boolean => spec?.accessModes?.includes('ReadWriteOncePod') ?? false;

function claimProblem(name: string, claim: PersistentVolumeClaim | undefined): string | undefined {
  if (claim === undefined) return `persistentvolumeclaim "${name}" not found`;
  if (claim.metadata.deletionTimestamp) return `persistentvolumeclaim "${name}" is being deleted`;
  if (claim.status?.phase !== 'Lost') return undefined;
  return `persistentvolumeclaim "${name}" bound to non-existent persistentvolume "${claim.spec?.volumeName}"`;
}

function boundVolume({ spec, status }: PersistentVolumeClaim, facts: VolumeFacts): PersistentVolume | undefined {
  return spec?.volumeName && status?.phase === 'Bound' ? facts.volume(spec.volumeName) : undefined;
}

const isDelayed = ({ spec }: PersistentVolumeClaim, { volumeBindingMode }: StorageClass): boolean =>
  volumeBindingMode === 'WaitForFirstConsumer' && !spec?.volumeName;

function delayedClaim(claim: PersistentVolumeClaim, storageClass: StorageClass, facts: VolumeFacts): DelayedClaim {
  return {
    claim,
    selectedNode: claim.metadata.annotations?.[SELECTED_NODE],
    sourceNodes: nodesOfCloneSource(claim, facts),
    candidates: facts.availableVolumes(storageClass.metadata.name ?? '').filter((volume) => fitsClaim(volume, claim)),
    provisioner: storageClass.provisioner === NO_PROVISIONER ? undefined : storageClass.provisioner,
  };
}

export function isReachable(volume: PersistentVolume, node: Node): boolean {
  const required = volume.spec?.nodeAffinity?.required;
  return required === undefined || matchesNodeSelector(required.nodeSelectorTerms, node);
}

/** Why claims that are for one pod keep this one from every node until the other pod ends, in Kubernetes' words. */
export function claimsTaken(
  { metadata }: Pod,
  { forOnePod = [] }: PodVolumes,
  placed: readonly { readonly pod: Pod }[],
): readonly string[] {
  const isTaken = placed.some(
    ({ pod }) =>
      pod.metadata.uid !== metadata.uid &&
      pod.metadata.namespace === metadata.namespace &&
      claimNames(pod).some((name) => forOnePod.includes(name)),
  );
  return isTaken ? ['node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode'] : [];
}

/** Why the pod's volumes keep it from a node. */
export function volumeFilter({ bound, delayed }: PodVolumes): (node: Node) => string | undefined {
  return (node) => {
    if (!bound.every((volume) => isReachable(volume, node))) return 'node(s) had volume node affinity conflict';
    const isPossible = delayed.every(({ selectedNode, sourceNodes, candidates, provisioner }) => {
      if (selectedNode !== undefined) return selectedNode === node.metadata.name;
      if (sourceNodes !== undefined && !sourceNodes.includes(node.metadata.name ?? '')) return false;
      return provisioner !== undefined || candidates.some((volume) => isReachable(volume, node));
    });
    return isPossible ? undefined : "node(s) didn't find available persistent volumes to bind";
  };
}
