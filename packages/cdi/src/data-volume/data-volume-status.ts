import type { DataVolume, PersistentVolumeClaim, Pod, StorageClass } from '@slipway/api';
import { type Condition, type ConditionUpdate, setCondition } from '@slipway/apimachinery';
import { Annotation } from '../constants.ts';
import { isBetweenStages } from '../import/stages.ts';
import { progressText, transferProgress } from './transfer-progress.ts';

export type DataVolumeStatus = NonNullable<DataVolume['status']>;

export interface StatusFacts {
  readonly claim: PersistentVolumeClaim | undefined;
  readonly storageClass: StorageClass | undefined;
  /** The worker, as long as it exists. */
  readonly pod: Pod | undefined;
  /** Why there is no claim, or why nothing can go on; becomes the Bound condition. */
  readonly problem?: { readonly reason: string; readonly message: string; readonly phase: string };
  readonly now: string;
}

type Kind = 'import' | 'clone' | 'upload' | 'other';

/** What a DataVolume does, judged by its claim's request. */
export function kindOf(claim: PersistentVolumeClaim | undefined): Kind {
  const annotations = claim?.metadata.annotations ?? {};
  if (annotations[Annotation.cloneRequest] !== undefined || annotations[Annotation.snapshotRequest] !== undefined) return 'clone';
  if (annotations[Annotation.importSource] !== undefined || annotations[Annotation.importEndpoint] !== undefined) return 'import';
  return annotations[Annotation.uploadTarget] === undefined ? 'other' : 'upload';
}

/** The complete status of a DataVolume. */
export function dataVolumeStatus(dataVolume: DataVolume, facts: StatusFacts): DataVolumeStatus {
  const before = dataVolume.status ?? {};
  const phase = facts.problem?.phase ?? phaseOf(dataVolume, facts);
  const { claim, now } = facts;
  const restarts = Math.max(restartsOf(claim), before.restartCount ?? 0);
  const progress = progressOf(phase, facts.pod) ?? before.progress ?? 'N/A';
  let conditions = (before.conditions ?? []) as readonly Condition[]; // statuses are the three of the schema
  const running = runningCondition(phase, facts);
  for (const condition of [boundCondition(dataVolume, facts), running, readyCondition(phase, running)])
    conditions = setCondition(conditions, condition, now);
  return {
    ...(claim !== undefined && { claimName: claim.metadata.name ?? '' }),
    phase,
    progress: phase === '' ? 'N/A' : progress,
    ...(restarts > 0 && { restartCount: restarts }),
    conditions: conditions.map((condition) => withTimes(condition, now)),
  };
}

const restartsOf = (claim: PersistentVolumeClaim | undefined): number =>
  Number(claim?.metadata.annotations?.[Annotation.podRestarts] ?? 0);

function withTimes(condition: Condition, now: string) {
  const lastTransitionTime = condition.lastTransitionTime ?? now;
  return { ...condition, lastTransitionTime, lastHeartbeatTime: lastTransitionTime };
}

function phaseOf(dataVolume: DataVolume, { claim, storageClass }: StatusFacts): string {
  const previous = dataVolume.status?.phase ?? '';
  if (claim === undefined) return previous === '' ? '' : 'Pending';
  const annotations = claim.metadata.annotations ?? {};
  if (annotations[Annotation.populatedFor] === dataVolume.metadata.name) return 'Succeeded';
  switch (claim.status?.phase ?? 'Pending') {
    case 'Lost':
      return 'Failed';
    case 'Bound':
      return boundPhase(claim, previous);
    case 'Pending':
      if (waitsForConsumer(claim, storageClass)) return 'WaitForFirstConsumer';
      return kindOf(claim) === 'clone' ? cloningPhase(claim, previous) : 'Pending';
    default:
      return 'Unknown';
  }
}

const CLONE_PHASES: Readonly<Record<string, string>> = {
  '': 'CloneScheduled',
  Pending: 'CloneScheduled',
  Snapshot: 'SnapshotForSmartCloneInProgress',
  SnapshotClone: 'CloneFromSnapshotSourceInProgress',
  CSIClone: 'CSICloneInProgress',
  HostClone: 'CloneInProgress',
};

/** The phase before the provisioner binds the clone, which is when its content is complete. */
function cloningPhase({ metadata }: PersistentVolumeClaim, previous: string): string {
  return CLONE_PHASES[metadata.annotations?.[Annotation.clonePhase] ?? ''] ?? previous;
}

/** True while nothing may happen because no pod has chosen the node yet. */
export function waitsForConsumer(claim: PersistentVolumeClaim, storageClass: StorageClass | undefined): boolean {
  const annotations = claim.metadata.annotations ?? {};
  return (
    storageClass?.volumeBindingMode === 'WaitForFirstConsumer' &&
    annotations[Annotation.immediateBinding] === undefined &&
    annotations[Annotation.selectedNode] === undefined
  );
}

function boundPhase(claim: PersistentVolumeClaim, previous: string): string {
  const annotations = claim.metadata.annotations ?? {};
  const podPhase = annotations[Annotation.podPhase];
  switch (kindOf(claim)) {
    case 'clone':
    case 'other':
      return 'Succeeded'; // the provisioner binds a clone when its content is complete
    case 'upload':
      if (podPhase === 'Succeeded') return 'Succeeded';
      return podPhase === 'Running' && annotations[Annotation.podReady] === 'true' ? 'UploadReady' : 'UploadScheduled';
    default:
  }
  if (podPhase === 'Succeeded') return isBetweenStages(annotations) ? 'Paused' : 'Succeeded';
  if (annotations[Annotation.fatalError] === 'true') return 'Failed';
  if (podPhase === 'Running') return 'ImportInProgress';
  if (podPhase === 'Failed' && previous !== '') return previous;
  return annotations[Annotation.importPod] === undefined ? 'PVCBound' : 'ImportScheduled';
}

/** Percent as CDI shows it; undefined leaves the last one. */
function progressOf(phase: string, pod: Pod | undefined): string | undefined {
  if (phase === 'Succeeded') return '100.0%';
  if (!/^(ImportInProgress|UploadReady)$/.test(phase)) return undefined;
  const { percent } = transferProgress(pod);
  // not finished before the pod has succeeded
  return percent !== undefined && percent < 100 ? `${percent.toFixed(2)}%` : undefined;
}

function boundCondition({ metadata }: DataVolume, { claim, problem }: StatusFacts): ConditionUpdate {
  const verdict = (status: 'True' | 'False', reason: string, message: string): ConditionUpdate => ({
    type: 'Bound',
    status,
    reason,
    message,
  });
  if (problem !== undefined) return verdict('False', problem.reason, problem.message);
  if (claim === undefined) return verdict('False', 'NotFound', 'No PVC found');
  const phase = claim.status?.phase ?? 'Pending';
  if (phase === 'Bound') return verdict('True', 'Bound', `PVC ${metadata.name} Bound`);
  return phase === 'Lost'
    ? verdict('False', 'ClaimLost', 'Claim Lost')
    : verdict('False', 'Pending', `PVC ${metadata.name} Pending`);
}

const TOO_SMALL =
  /is larger than the reported available|no space left on device|file largest block is bigger than maxblock|disk quota exceeded/;

function runningCondition(phase: string, { claim, pod }: StatusFacts): ConditionUpdate {
  const annotations = claim?.metadata.annotations ?? {};
  const isTransfer = /^(ImportInProgress|UploadReady)$/.test(phase);
  const message = annotations[Annotation.runningMessage] || (isTransfer ? progressText(transferProgress(pod)) : '');
  const detail = message.match(/no space left on device/) ? `: ${message}` : '';
  return {
    type: 'Running',
    status: annotations[Annotation.running] === 'true' && phase !== 'Succeeded' ? 'True' : 'False',
    reason: annotations[Annotation.runningReason] ?? '',
    message: TOO_SMALL.test(message) ? `DataVolume too small to contain image${detail}` : message,
  };
}

function readyCondition(phase: string, { status }: ConditionUpdate): ConditionUpdate {
  const isRunning = phase.endsWith('InProgress') || status === 'True';
  return {
    type: 'Ready',
    status: phase === 'Succeeded' ? 'True' : phase === 'Unknown' ? 'Unknown' : 'False',
    reason: isRunning ? 'TransferRunning' : '',
    message: '',
  };
}

export interface PhaseEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
}

const conditionOf = (status: DataVolume['status'], type: string) =>
  status?.conditions?.find((condition) => condition.type === type);

/** Every change of the Bound condition is told. */
export function boundEvent(before: DataVolume['status'], after: DataVolumeStatus, isProblem: boolean): PhaseEvent | undefined {
  const [old, now] = [conditionOf(before, 'Bound'), conditionOf(after, 'Bound')];
  if (now === undefined || (old?.reason === now.reason && old?.message === now.message)) return undefined;
  return { type: isProblem ? 'Warning' : 'Normal', reason: now.reason ?? '', message: now.message ?? '' };
}

const FAILURES: readonly (string | undefined)[] = ['Error', 'ChecksumError'];

/** A worker that failed says why. */
export function failureEvent(
  before: DataVolume['status'],
  after: DataVolumeStatus,
  claim: PersistentVolumeClaim | undefined,
): PhaseEvent | undefined {
  const [old, now] = [conditionOf(before, 'Running'), conditionOf(after, 'Running')];
  if (!FAILURES.includes(now?.reason) || now?.message === old?.message) return undefined;
  const reason = kindOf(claim) === 'upload' ? 'UploadFailed' : 'ImportFailed';
  return { type: 'Warning', reason, message: now?.message ?? '' };
}

/** What people are told when a DataVolume reaches a phase. */
export function phaseEvent(
  dataVolume: DataVolume,
  claim: PersistentVolumeClaim | undefined,
  phase: string,
): PhaseEvent | undefined {
  const { name = '' } = dataVolume.metadata;
  const normal = (reason: string, message: string): PhaseEvent => ({ type: 'Normal', reason, message });
  switch (phase) {
    case 'ImportScheduled':
      return normal('ImportScheduled', `Import into ${name} scheduled`);
    case 'ImportInProgress':
      return normal('ImportInProgress', `Import into ${name} in progress`);
    case 'Paused':
      return normal('ImportPaused', `Multistage import into PVC ${name} is paused`);
    case 'UploadScheduled':
      return normal('UploadScheduled', `Upload into ${name} scheduled`);
    case 'UploadReady':
      return normal('UploadReady', `Upload into ${name} ready`);
    case 'Succeeded':
      return successEvent(dataVolume, claim);
    case 'Failed':
      return claim?.status?.phase === 'Lost'
        ? { type: 'Warning', reason: 'ErrClaimLost', message: `PVC ${name} lost` }
        : { type: 'Warning', reason: 'ImportFailed', message: `Failed to import into PVC ${name}` };
    default:
      return cloneEvent(dataVolume, claim, phase);
  }
}

function cloneEvent({ metadata }: DataVolume, claim: PersistentVolumeClaim | undefined, phase: string): PhaseEvent | undefined {
  const target = `${metadata.namespace}/${metadata.name}`;
  const annotations = claim?.metadata.annotations ?? {};
  const source = annotations[Annotation.cloneRequest] ?? annotations[Annotation.snapshotRequest];
  const texts: Readonly<Record<string, string>> = {
    CloneScheduled: `Cloning from ${source} into ${target} scheduled`,
    CloneInProgress: `Cloning from ${source} into ${target} in progress`,
    SnapshotForSmartCloneInProgress: `Creating snapshot for smart-clone is in progress (for pvc ${source})`,
    CloneFromSnapshotSourceInProgress: `Creating PVC from snapshot source is in progress (for ${target})`,
    CSICloneInProgress: `CSI Volume clone in progress (for pvc ${source})`,
  };
  const message = texts[phase];
  return message === undefined || source === undefined ? undefined : { type: 'Normal', reason: phase, message };
}

function successEvent({ metadata }: DataVolume, claim: PersistentVolumeClaim | undefined): PhaseEvent | undefined {
  const { name = '', namespace = '' } = metadata;
  const requests = claim?.metadata.annotations ?? {};
  const source = requests[Annotation.cloneRequest] ?? requests[Annotation.snapshotRequest] ?? '';
  switch (kindOf(claim)) {
    case 'clone':
      return {
        type: 'Normal',
        reason: 'CloneSucceeded',
        message: `Successfully cloned from ${source} into ${namespace}/${name}`,
      };
    case 'import':
      return { type: 'Normal', reason: 'ImportSucceeded', message: `Successfully imported into PVC ${name}` };
    case 'upload':
      return { type: 'Normal', reason: 'UploadSucceeded', message: `Successfully uploaded into ${name}` };
    default:
      return requests[Annotation.externalPopulation] === undefined
        ? undefined
        : { type: 'Normal', reason: 'ExternalPopulationSucceeded', message: `PVC ${name} successfully populated` };
  }
}
