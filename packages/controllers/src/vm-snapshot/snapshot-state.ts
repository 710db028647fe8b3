import type { kubevirt, Pod, VirtualMachine, VirtualMachineInstance, VolumeSnapshot } from '@slipway/api';
import { VmiCondition, VmiPhase } from '@slipway/api';
import { parseDuration, parseTime } from '@slipway/apimachinery';
import { hasCondition, isDeleting, isFinal } from '../virtual-machine-instance/instance-state.ts';
import { condition, withConditions } from './objects.ts';
import type { SourceVolumes } from './source-volumes.ts';

export type VmSnapshot = kubevirt.VirtualMachineSnapshot;
export type VmSnapshotContent = kubevirt.VirtualMachineSnapshotContent;
type Status = kubevirt.VirtualMachineSnapshotStatus;

export const VmSnapshotFinalizer = {
  snapshot: 'snapshot.kubevirt.io/vmsnapshot-protection',
  content: 'snapshot.kubevirt.io/vmsnapshotcontent-protection',
  source: 'snapshot.kubevirt.io/snapshot-source-protection',
} as const;

/** What is said of a snapshot of a running guest. */
export const Indication = {
  online: 'Online',
  noGuestAgent: 'NoGuestAgent',
  guestAgent: 'GuestAgent',
  quiesceTimeout: 'QuiesceTimeout',
  quiesceFailed: 'QuiesceFailed',
  paused: 'Paused',
  partial: 'PartialSnapshot',
} as const;

const INDICATION_TEXT: Readonly<Record<string, string>> = {
  [Indication.online]: 'Snapshot taken while the virtual machine was running',
  [Indication.noGuestAgent]: 'No guest agent: the file systems were not quiesced, the snapshot is as after a power cut',
  [Indication.guestAgent]: 'The guest agent quiesced the file systems while the snapshot was taken',
  [Indication.quiesceTimeout]: 'The file systems were thawed before the snapshot was complete; it may be as after a power cut',
  [Indication.quiesceFailed]: 'The guest agent could not quiesce the file systems, the snapshot is as after a power cut',
  [Indication.paused]: 'Snapshot taken while the virtual machine was paused; nothing was quiesced',
  [Indication.partial]: 'A volume of the virtual machine offers no snapshots and is missing',
};

const DEFAULT_DEADLINE_MS = 300_000;

/** When the snapshot has failed if it is not ready; undefined: never. */
export function deadlineOf({ spec, metadata }: VmSnapshot): number | undefined {
  const ms =
    spec.failureDeadline === undefined ? DEFAULT_DEADLINE_MS : (parseDuration(spec.failureDeadline) ?? DEFAULT_DEADLINE_MS);
  return ms === 0 ? undefined : (parseTime(metadata.creationTimestamp) ?? 0) + ms;
}

export const isFinished = ({ status }: VmSnapshot): boolean => status?.phase === 'Succeeded' || status?.phase === 'Failed';

export const isRunning = (vmi: VirtualMachineInstance | undefined): vmi is VirtualMachineInstance =>
  vmi !== undefined && !isFinal(vmi);

/** Indications of a snapshot before the guest is asked to quiesce. */
export function firstIndications(vmi: VirtualMachineInstance | undefined, volumes: SourceVolumes): string[] {
  const partial = volumes.isPartial ? [Indication.partial] : [];
  if (!isRunning(vmi)) return partial;
  if (hasCondition(vmi, VmiCondition.paused)) return [Indication.online, Indication.paused, ...partial];
  return [Indication.online, hasAgent(vmi) ? Indication.guestAgent : Indication.noGuestAgent, ...partial];
}

export const hasAgent = (vmi: VirtualMachineInstance): boolean => hasCondition(vmi, VmiCondition.agentConnected);

/** The status with other indications and their texts. */
export function withIndications(status: Status, indications: readonly string[]): Status {
  const { indications: _, sourceIndications: __, ...rest } = status;
  if (indications.length === 0) return rest;
  const sourceIndications = indications.map((indication) => ({ indication, message: INDICATION_TEXT[indication] ?? '' }));
  return { ...rest, indications: [...indications], sourceIndications };
}

export interface LockFacts {
  readonly vm: VirtualMachine;
  readonly vmi: VirtualMachineInstance | undefined;
  readonly volumes: SourceVolumes;
  /** Pods that use one of the claims. */
  readonly users: readonly Pod[];
  /** Claims that are being filled. */
  readonly filling: readonly string[];
}

/** Why the source cannot be locked for a snapshot now. */
export function lockObstacle(name: string, { vm, vmi, volumes, users, filling }: LockFacts): string | undefined {
  const holder = vm.status?.snapshotInProgress;
  if (holder !== undefined && holder !== name) return `snapshot "${holder}" in progress`;
  if (vm.status?.restoreInProgress !== undefined) return `restore "${vm.status.restoreInProgress}" in progress`;
  return claimObstacle(volumes, filling) ?? guestObstacle(vmi, users);
}

function claimObstacle({ missing: [missing], included }: SourceVolumes, filling: readonly string[]): string | undefined {
  if (missing !== undefined) return `PVC ${missing} does not exist`;
  for (const { claim } of included) {
    const { name = '' } = claim.metadata;
    if (isDeleting(claim)) return `PVC ${name} is being deleted`;
    if (claim.status?.phase !== 'Bound') return `PVC ${name} is not bound`;
    if (filling.includes(name)) return `PVC ${name} is not populated`;
  }
  return undefined;
}

function guestObstacle(vmi: VirtualMachineInstance | undefined, users: readonly Pod[]): string | undefined {
  const [user] = users;
  if (!isRunning(vmi)) return user === undefined ? undefined : `pod ${user.metadata.name} uses a volume of the virtual machine`;
  // between its start and its first instruction there is no guest that could be asked
  if (vmi.status?.phase !== VmiPhase.running) return 'the virtual machine is starting';
  return isDeleting(vmi) ? 'the virtual machine is stopping' : undefined;
}

/** The status while the source is not locked yet, or work goes on. */
export function progressing(snapshot: VmSnapshot, reason: string, isLocked: boolean, now: string): Status {
  const conditions = [condition('Progressing', isLocked, reason), condition('Ready', false, 'Not ready')];
  const { status: before } = snapshot;
  return { ...before, phase: 'InProgress', readyToUse: false, conditions: withConditions(before?.conditions, conditions, now) };
}

/** The status of a snapshot whose source is locked. */
export function begun(
  snapshot: VmSnapshot,
  { vm, vmi, volumes }: Pick<LockFacts, 'vm' | 'vmi' | 'volumes'>,
  now: string,
): Status {
  const { uid } = vm.metadata;
  const included = volumes.included.map(({ volumeName }) => volumeName);
  const status = {
    ...progressing(snapshot, 'Source locked and operation in progress', true, now),
    snapshotVolumes: {
      ...(included.length > 0 && { includedVolumes: included }),
      ...(volumes.excluded.length > 0 && { excludedVolumes: [...volumes.excluded] }),
    },
    ...(uid !== undefined && { sourceUID: uid }),
  };
  return withIndications(status, firstIndications(vmi, volumes));
}

/** The status of a snapshot that is complete. */
export function succeeded(snapshot: VmSnapshot, creationTime: string, now: string): Status {
  const conditions = [condition('Progressing', false, 'Operation complete'), condition('Ready', true, 'Ready')];
  const { error: _, ...before } = snapshot.status ?? {};
  const updated = withConditions(before.conditions, conditions, now);
  return { ...before, phase: 'Succeeded', readyToUse: true, creationTime, conditions: updated };
}

/** The status of a snapshot that will never be complete. */
export function failed(snapshot: VmSnapshot, reason: string, now: string): Status {
  const conditions = [
    condition('Progressing', false, 'Operation failed'),
    condition('Ready', false, 'Operation failed'),
    condition('Failure', true, reason),
  ];
  const { status: before } = snapshot;
  const error = before?.error ?? { message: reason, time: now };
  const updated = withConditions(before?.conditions, conditions, now);
  return { ...before, phase: 'Failed', readyToUse: false, error, conditions: updated };
}

/** Where the volume snapshots of a content are. */
export interface Progress {
  /** Names that do not exist. */
  readonly missing: readonly string[];
  readonly areCut: boolean;
  readonly areReady: boolean;
  readonly error: kubevirt.Error | undefined;
}

/** Sums up the volume snapshots of a content. */
export function progressOf(content: VmSnapshotContent, find: (name: string) => VolumeSnapshot | undefined): Progress {
  const names = (content.spec.volumeBackups ?? []).flatMap(({ volumeSnapshotName }) => volumeSnapshotName ?? []);
  const found = names.map((name) => ({ name, snapshot: find(name) }));
  const all = found.map(({ snapshot }) => snapshot?.status);
  return {
    missing: found.flatMap(({ name, snapshot }) => (snapshot === undefined ? [name] : [])),
    areCut: all.every((status) => status?.creationTime !== undefined),
    areReady: all.every((status) => status?.readyToUse === true),
    error: all.find((status) => status?.error !== undefined)?.error,
  };
}
