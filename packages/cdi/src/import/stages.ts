import type { DataVolume, PersistentVolumeClaim } from '@slipway/api';
import { Annotation } from '../constants.ts';

type Annotations = Readonly<Record<string, string>>;
/** Changes of annotations; null takes one away. */
export type AnnotationPatch = Readonly<Record<string, string | null>>;

/** Checkpoint that the source had before, checkpoint to copy up to, and whether it is the last one. */
interface Stage {
  readonly previous: string;
  readonly current: string;
  readonly isFinal: boolean;
}

/** True for an import that copies a disk in use, checkpoint after checkpoint. */
export const hasStages = ({ spec }: DataVolume): boolean =>
  (spec.checkpoints?.length ?? 0) > 0 && Boolean(spec.source?.imageio ?? spec.source?.vddk);

/** The first checkpoint that was not copied yet. */
function nextStage({ spec }: DataVolume, annotations: Annotations): Stage | undefined {
  const { checkpoints = [], finalCheckpoint = false } = spec;
  const index = checkpoints.findIndex(({ current }) => annotations[Annotation.checkpointCopied + current] === undefined);
  const checkpoint = checkpoints[index];
  return checkpoint && { ...checkpoint, isFinal: finalCheckpoint && index === checkpoints.length - 1 };
}

const stageAnnotations = ({ previous, current, isFinal }: Stage): Record<string, string> => ({
  [Annotation.checkpointPrevious]: previous,
  [Annotation.checkpointCurrent]: current,
  [Annotation.checkpointFinal]: String(isFinal),
});

/** What the claim of a new DataVolume says of its first stage; nothing for an import without stages. */
export function firstStage(dataVolume: DataVolume): Record<string, string> {
  const stage = hasStages(dataVolume) ? nextStage(dataVolume, {}) : undefined;
  return stage === undefined ? {} : stageAnnotations(stage);
}

/** True between the stages of an import, and after the last one until it is known to be that. */
export const isBetweenStages = (annotations: Annotations): boolean =>
  annotations[Annotation.checkpointCurrent] !== undefined && annotations[Annotation.checkpointDone] !== 'true';

/**
 * What follows when the worker of a stage has ended: the next stage, the end of the import, or nothing while its author has
 * named no further checkpoint. Undefined when the claim is as it should be.
 */
export function advanceStages(dataVolume: DataVolume, { metadata }: PersistentVolumeClaim): AnnotationPatch | undefined {
  const annotations = metadata.annotations ?? {};
  const current = annotations[Annotation.checkpointCurrent];
  const isEnded = annotations[Annotation.podPhase] === 'Succeeded' && isBetweenStages(annotations);
  if (current === undefined || !isEnded || !hasStages(dataVolume)) return undefined;
  const copied = { [Annotation.checkpointCopied + current]: annotations[Annotation.checkpointPod] ?? '' };
  const next = nextStage(dataVolume, { ...annotations, ...copied });
  if (next !== undefined) return { ...copied, ...stageAnnotations(next), ...NO_WORKER };
  if (dataVolume.spec.finalCheckpoint) return { ...copied, [Annotation.checkpointDone]: 'true' };
  return annotations[Annotation.checkpointCopied + current] === undefined ? copied : undefined;
}

/** The worker of the stage before says nothing about the next one. */
const NO_WORKER = {
  [Annotation.podPhase]: null,
  [Annotation.podReady]: null,
  [Annotation.importPod]: null,
  [Annotation.checkpointPod]: null,
};
