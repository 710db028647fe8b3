import type { kubevirt, Node, Pod, VirtualMachineInstance } from '@slipway/api';
import { deepEqual, formatTime, type ObjectMeta } from '@slipway/apimachinery';
import { Annotation, Finalizer, Label, Reason, VmiPhase } from '@slipway/api';
import { type ExistingStorage, type StorageState, storageState, volumeStatuses } from './claims.ts';
import { instanceConditions, isUnready, type SyncProblem } from './instance-conditions.ts';
import { isDeleting, isFinal } from './instance-state.ts';
import { canTakeGuest, currentPod, hasEnded, imageProblem, isGoingDown, podCondition } from './launcher-pod-state.ts';
import { isGuestLost, isOnTheWay } from './moving-guest.ts';

export interface InstanceInput {
  readonly vmi: VirtualMachineInstance;
  /** Launcher pods of this instance that exist. */
  readonly pods: readonly Pod[];
  readonly storage: ExistingStorage;
  /** Node of the instance; undefined when it has none or the node is gone. */
  readonly node: Node | undefined;
  /** Nodes that take no pods because they are not ready. */
  readonly unreadyNodes?: readonly Node[];
  /** Address of the guest on virtual sockets. */
  readonly vsockCid?: number | undefined;
  /** Whether the VM that owns the instance exists. */
  readonly hasOwnerVm: boolean;
  readonly problem?: SyncProblem;
  /** False after a failed attempt: the failure is what must be written. */
  readonly mayCreatePod?: boolean;
  readonly nowMs: number;
}

export interface InstancePlan {
  readonly createPod: boolean;
  readonly deletePods: readonly Pod[];
  /** What to store; undefined: nothing to write now. */
  readonly update: VirtualMachineInstance | undefined;
  /** The node was given up in this pass. */
  readonly isNodeLost: boolean;
  /** Look again after this time even if nothing changes. */
  readonly retryInMs: number | undefined;
}

/** A start that gets a ready pod within this time skips the separate write of phase Scheduling. */
const QUIET_START_MS = 1_000;

const WAITING: readonly string[] = [VmiPhase.unset, VmiPhase.pending, VmiPhase.scheduling];

/**
 * Decides the next phase, status and pod actions of one instance. The node agent owns the way from Scheduled to
 * Running and to a final phase; this controller owns the rest.
 */
export function planInstance(input: InstanceInput): InstancePlan {
  const { vmi, pods, nowMs } = input;
  const pod = currentPod(vmi, pods);
  const storage = storageState(vmi, input.storage);
  const isNodeLost = hasLostNode(input);
  const phase = nextPhase({ ...input, pod, storageState: storage, isNodeLost });
  const next = nextObject(input, phase, pod, storage, isNodeLost);
  const hasChanged = !deepEqual(next, vmi);
  const quietMs = quietStartMs(vmi, pod, phase, nowMs);
  const createPod =
    input.mayCreatePod !== false &&
    pod === undefined &&
    !isDeleting(vmi) &&
    storage.canSchedule &&
    WAITING.includes(vmi.status?.phase ?? '') &&
    phase === VmiPhase.pending;
  return {
    createPod,
    deletePods: podsToDelete(vmi, pods, phase, pod),
    // the pod that is being created brings the next pass, and with it something worth writing
    update: hasChanged && quietMs === 0 && !createPod ? next : undefined,
    isNodeLost,
    retryInMs: quietMs > 0 ? quietMs : undefined,
  };
}

interface PhaseInput extends InstanceInput {
  readonly pod: Pod | undefined;
  readonly storageState: StorageState;
  readonly isNodeLost: boolean;
}

function nextPhase({ vmi, pod, pods, storageState: storage, isNodeLost }: PhaseInput): string {
  const phase = vmi.status?.phase ?? VmiPhase.unset;
  if (isFinal(vmi)) return phase;
  if (isNodeLost) return VmiPhase.failed;
  if (phase === VmiPhase.unset || phase === VmiPhase.pending) return firstPhase(vmi, pod, storage);
  if (!WITH_POD.has(phase)) return phase;
  if (pod === undefined || isGuestLost(vmi, pod, pods)) return VmiPhase.failed;
  return phase === VmiPhase.scheduling ? scheduling(vmi, pod, storage) : phase;
}

/** Phases that end with the pod. */
const WITH_POD: ReadonlySet<string> = new Set([VmiPhase.scheduling, VmiPhase.scheduled, VmiPhase.running]);

function firstPhase(vmi: PhaseInput['vmi'], pod: PhaseInput['pod'], storage: PhaseInput['storageState']): string {
  if (isReceiver(vmi)) return VmiPhase.waitingForSync;
  if (storage.failedDataVolume !== undefined) return VmiPhase.failed;
  if (pod === undefined) return isDeleting(vmi) ? VmiPhase.failed : VmiPhase.pending;
  return scheduling(vmi, pod, storage);
}

/** It gets its pod from the migration that brings its guest; until then nothing of it runs. */
function isReceiver({ metadata }: VirtualMachineInstance): boolean {
  return metadata.annotations?.[Annotation.createMigrationTarget] === 'true' && metadata.labels?.[Label.nodeName] === undefined;
}

function scheduling(vmi: VirtualMachineInstance, pod: Pod, storage: StorageState): string {
  if (isDeleting(vmi) || isGoingDown(pod)) return VmiPhase.failed;
  // the pod is the first consumer of volumes that are still being filled: the instance stays Pending meanwhile
  if (!storage.canRun) return vmi.status?.phase === VmiPhase.scheduling ? VmiPhase.scheduling : VmiPhase.pending;
  return canTakeGuest(pod) ? VmiPhase.scheduled : VmiPhase.scheduling;
}

/** Milliseconds for which a write may be held back because the pod will probably be ready by then. */
function quietStartMs(vmi: VirtualMachineInstance, pod: Pod | undefined, phase: string, nowMs: number): number {
  const isStarting = phase === VmiPhase.scheduling && (vmi.status?.phase ?? '') !== VmiPhase.scheduling;
  if (!isStarting || pod === undefined) return 0;
  if (imageProblem(pod) !== undefined || podCondition(pod, 'PodScheduled')?.status === 'False') return 0;
  const createdMs = Date.parse(pod.metadata.creationTimestamp ?? '');
  // creationTimestamp has whole seconds: one more covers what was cut off
  return Number.isNaN(createdMs) ? 0 : Math.min(QUIET_START_MS, Math.max(0, createdMs + 2 * QUIET_START_MS - nowMs));
}

function podsToDelete(
  vmi: VirtualMachineInstance,
  pods: readonly Pod[],
  phase: string,
  current: Pod | undefined,
): readonly Pod[] {
  const isEnded = phase === VmiPhase.failed || phase === VmiPhase.succeeded;
  // the agent ends a guest that it has taken over; only then may its sandbox go
  if (isDeleting(vmi) && isEnded) return pods.filter((pod) => !isDeleting(pod));
  // what a migration has left: the guest is in another pod
  const isElsewhere = current !== undefined && !isGoingDown(current);
  return isElsewhere ? pods.filter((pod) => pod !== current && hasEnded(pod) && !isDeleting(pod)) : [];
}

/**
 * The pod is gone although nobody on its node can have said so: the fencing controller knows that the guest has ended, or an
 * administrator does. KubeVirt-compat: upstream gives the instance up five minutes after the node's last heartbeat, whether
 * or not its guest still runs.
 */
function hasLostNode({ vmi, pods, node }: InstanceInput): boolean {
  const phase = vmi.status?.phase;
  if (phase !== VmiPhase.scheduled && phase !== VmiPhase.running) return false;
  const { nodeName } = vmi.status ?? {};
  if (nodeName === undefined || pods.some(({ spec }) => spec?.nodeName === undefined || spec.nodeName === nodeName)) return false;
  return node === undefined || isUnready(node);
}

function nextObject(
  input: InstanceInput,
  phase: string,
  pod: Pod | undefined,
  storage: StorageState,
  isNodeLost: boolean,
): VirtualMachineInstance {
  const { vmi, nowMs } = input;
  const now = formatTime(nowMs);
  const isHandOver = phase === VmiPhase.scheduled && vmi.status?.phase !== VmiPhase.scheduled;
  const { node, unreadyNodes, problem } = input;
  const isMoving = isOnTheWay(vmi, pod, input.pods);
  const about = { vmi, phase, pod, storage, problem, now, node, isMoving, ...(unreadyNodes && { unreadyNodes }) };
  const conditions = instanceConditions(about);
  const status: kubevirt.VirtualMachineInstanceStatus = {
    ...withoutDoneEvacuation(vmi.status),
    conditions,
    phase,
    phaseTransitionTimestamps: phaseTimes(vmi, phase, now),
    ...(isHandOver && pod !== undefined && handOverStatus(input, pod)),
    ...(isNodeLost && { reason: Reason.nodeUnresponsive }),
    ...activePods(vmi, input.pods),
    ...(input.vsockCid !== undefined && { VSOCKCID: input.vsockCid }),
  };
  return { ...vmi, metadata: nextMetadata(input, phase, isHandOver ? pod?.spec?.nodeName : undefined), status };
}

/** Who was asked to leave a node and is on another one has done so. */
function withoutDoneEvacuation(status: kubevirt.VirtualMachineInstanceStatus = {}): kubevirt.VirtualMachineInstanceStatus {
  const { evacuationNodeName, ...others } = status;
  return evacuationNodeName === undefined || evacuationNodeName === status.nodeName ? status : others;
}

function nextMetadata(input: InstanceInput, phase: string, nodeName: string | undefined): ObjectMeta {
  const { metadata } = input.vmi;
  const finalizers = nextFinalizers(input, phase);
  return {
    ...metadata,
    ...(finalizers.length !== (metadata.finalizers ?? []).length && { finalizers: [...finalizers] }),
    ...(nodeName !== undefined && { labels: { ...metadata.labels, [Label.nodeName]: nodeName } }),
  };
}

/** One entry per phase. A start that skipped the write of Scheduling gets its time from the launcher pod. */
function phaseTimes(vmi: VirtualMachineInstance, phase: string, now: string) {
  const times = [...(vmi.status?.phaseTransitionTimestamps ?? [])];
  const add = (name: string, at: string): void => {
    if (!times.some((entry) => entry.phase === name)) times.push({ phase: name, phaseTransitionTimestamp: at });
  };
  if (phase === '') return times;
  add(VmiPhase.pending, vmi.metadata.creationTimestamp ?? now);
  if (phase === VmiPhase.scheduled) add(VmiPhase.scheduling, now);
  add(phase, now);
  return times;
}

function handOverStatus(input: InstanceInput, pod: Pod): kubevirt.VirtualMachineInstanceStatus {
  const { vmi, storage } = input;
  const image = pod.spec?.containers.find((container) => container.name === 'compute')?.image;
  const qosClass = pod.status?.qosClass;
  return {
    ...(pod.spec?.nodeName !== undefined && { nodeName: pod.spec.nodeName }),
    migrationTransport: 'Unix',
    runtimeUser: 107,
    ...(image !== undefined && { launcherContainerImageVersion: image }),
    // the pod API's enum is the same as ours
    ...(qosClass !== undefined && { qosClass: qosClass as 'BestEffort' | 'Burstable' | 'Guaranteed' }),
    volumeStatus: volumeStatuses(vmi, storage),
  };
}

function activePods(vmi: VirtualMachineInstance, pods: readonly Pod[]): { activePods?: Record<string, string> } {
  const placed = pods.filter((pod) => pod.metadata.uid !== undefined && !isGoingDown(pod));
  if (placed.length === 0) return vmi.status?.activePods === undefined ? {} : { activePods: vmi.status.activePods };
  const uids = placed.map((pod) => pod.metadata.uid ?? '').sort();
  const node = new Map(placed.map((pod) => [pod.metadata.uid, pod.spec?.nodeName ?? '']));
  return { activePods: Object.fromEntries(uids.map((uid) => [uid, node.get(uid) ?? ''])) };
}

/** Both finalizers go once the guest has ended and no pod is left. */
function nextFinalizers({ vmi, pods, hasOwnerVm }: InstanceInput, phase: string): readonly string[] {
  const finalizers = vmi.metadata.finalizers ?? [];
  const isEnded = phase === VmiPhase.failed || phase === VmiPhase.succeeded || phase === VmiPhase.waitingForSync;
  if (!isDeleting(vmi) || !isEnded || pods.length > 0) return finalizers;
  const dropped: string[] = [Finalizer.foregroundDelete, Finalizer.legacyForegroundDelete];
  if (!hasOwnerVm) dropped.push(Finalizer.virtualMachineController);
  return finalizers.filter((finalizer) => !dropped.includes(finalizer));
}
