import type { PersistentVolumeClaim, VolumeSnapshot } from '@slipway/api';
import { Annotation } from '../constants.ts';

/** CDI's names of what happens to a claim that is a clone. */
export type ClonePhase = 'Snapshot' | 'SnapshotClone' | 'CSIClone' | 'HostClone' | 'Succeeded';

export interface StepFacts {
  /** No pod has chosen the node yet. */
  readonly isWaiting: boolean;
  /** The source is in the claim's namespace, or its clone was granted. */
  readonly isAllowed: boolean;
  /** The temporary one of this clone. */
  readonly snapshot: VolumeSnapshot | undefined;
}

export interface Step {
  /** To be written; undefined leaves the one that is there. */
  readonly phase?: ClonePhase;
  /** `snapshot`: take one of the source; `restore`: let the provisioner have it; `finish`: remove what is left over. */
  readonly action?: 'snapshot' | 'restore' | 'finish';
}

/** What is next for a claim that is a clone. Pure. */
export function nextStep(claim: PersistentVolumeClaim, { isWaiting, isAllowed, snapshot }: StepFacts): Step {
  const { annotations = {}, deletionTimestamp } = claim.metadata;
  const current = annotations[Annotation.clonePhase];
  if (current === 'Succeeded') return {};
  if (claim.status?.phase === 'Bound') return { phase: 'Succeeded', action: 'finish' };
  if (deletionTimestamp !== undefined) return { action: 'finish' };
  if (isWaiting || !isAllowed) return {};
  const strategy = annotations[Annotation.cloneType];
  if (strategy === 'copy') return enter('HostClone', current);
  if (strategy !== 'snapshot') return enter('CSIClone', current);
  if (annotations[Annotation.snapshotRequest] !== undefined) return enter('SnapshotClone', current);
  if (snapshot === undefined) return { ...enter('Snapshot', current), action: 'snapshot' };
  return snapshot.status?.readyToUse === true ? { phase: 'SnapshotClone', action: 'restore' } : enter('Snapshot', current);
}

const enter = (phase: ClonePhase, current: string | undefined): Step => (current === phase ? {} : { phase });
