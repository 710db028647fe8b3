import type { DataVolume, kubevirt, PersistentVolumeClaim, Pod, VirtualMachineInstance } from '@slipway/api';
import { HotplugReason, Reason, VmiPhase, VolumePhase } from '@slipway/api';
import { deepEqual } from '@slipway/apimachinery';
import { type AttachedVolume, claimNameOf, hotpluggableVolumes } from '@slipway/virt';
import { claimInfo, type ExistingStorage } from '../virtual-machine-instance/claims.ts';
import { isDeleting } from '../virtual-machine-instance/instance-state.ts';

type VolumeStatus = kubevirt.VolumeStatus;

export interface HotplugInput {
  readonly vmi: VirtualMachineInstance;
  /** Pod in which the guest runs; undefined while there is none on a node. */
  readonly launcher: Pod | undefined;
  /** Attachment pods of that launcher pod. */
  readonly pods: readonly Pod[];
  readonly storage: ExistingStorage;
}

export interface VolumeEvent {
  readonly reason: string;
  readonly message: string;
}

export interface HotplugPlan {
  /** Volumes that need an attachment pod. */
  readonly createPods: readonly AttachedVolume[];
  readonly deletePods: readonly Pod[];
  /** New `status.volumeStatus`; undefined: it is right. */
  readonly statuses: readonly VolumeStatus[] | undefined;
  readonly events: readonly VolumeEvent[];
}

const NOTHING: HotplugPlan = { createPods: [], deletePods: [], statuses: undefined, events: [] };

/** Phases that the node agent writes. */
const OF_THE_AGENT: readonly string[] = [VolumePhase.mountedToPod, VolumePhase.ready];
/** Before these the node agent knows nothing of a volume. */
const BEFORE_THE_AGENT: readonly (string | undefined)[] = [undefined, '', VolumePhase.pending, VolumePhase.bound];

/**
 * Decides which attachment pods an instance needs and how far each hotplugged volume has come. The node agent takes
 * over between AttachedToNode and Ready, and between Detaching and UnMountedFromPod.
 */
export function planHotplug(input: HotplugInput): HotplugPlan {
  const { vmi, launcher } = input;
  const phase = vmi.status?.phase;
  if (launcher === undefined || isDeleting(launcher) || isDeleting(vmi)) return NOTHING;
  if (phase !== VmiPhase.running && phase !== VmiPhase.scheduled) return NOTHING;
  const wanted = hotpluggableVolumes(vmi.spec);
  const steps = wanted.map((volume) => planWanted(input, volume));
  const names = new Set((vmi.spec.volumes ?? []).map(({ name }) => name));
  const unwanted = (vmi.status?.volumeStatus ?? []).filter(
    (status) => status.hotplugVolume !== undefined && !names.has(status.name),
  );
  const leaving = unwanted.map((status) => planLeaving(input, status));
  const all = [...steps, ...leaving];
  return {
    createPods: steps.flatMap(({ create }) => create ?? []),
    deletePods: [...all.flatMap(({ remove }) => remove ?? []), ...orphans(input, names, unwanted)],
    // while it starts the instance is its controller's and its agent's
    statuses: phase === VmiPhase.running ? statusesOf(vmi, all) : undefined,
    events: phase === VmiPhase.running ? all.flatMap(({ event }) => event ?? []) : [],
  };
}

interface Step {
  readonly name: string;
  /** Undefined: the entry goes. */
  readonly status: VolumeStatus | undefined;
  readonly create?: AttachedVolume;
  readonly remove?: Pod;
  readonly event?: VolumeEvent;
}

function planWanted(input: HotplugInput, volume: kubevirt.Volume): Step {
  const { vmi, pods, storage } = input;
  const { name } = volume;
  const claimName = claimNameOf(volume) ?? '';
  const claim = storage.claims.get(claimName);
  const known = vmi.status?.volumeStatus?.find((status) => status.name === name);
  const base: VolumeStatus = {
    ...(known ?? { name, target: '' }),
    hotplugVolume: known?.hotplugVolume ?? {},
    ...(claim && { persistentVolumeClaimInfo: claimInfo(claim) }),
  };
  if (claim === undefined || isDeleting(claim)) return { name, status: waiting(base, missingClaim(claimName, storage, claim)) };
  const pod = pods.find((entry) => carries(entry, name, claimName));
  if (pod !== undefined) return planAttached(base, { claimName, claim, pod, dataVolume: storage.dataVolumes.get(claimName) });
  const isOldGone = !pods.some((entry) => carries(entry, name));
  return {
    name,
    status: waiting(base, notAttached(claimName, claim)),
    ...(isOldGone && { create: { name, claimName, isBlock: claim.spec?.volumeMode === 'Block' } }),
  };
}

interface Attachment {
  readonly claimName: string;
  readonly claim: PersistentVolumeClaim;
  readonly pod: Pod;
  readonly dataVolume: DataVolume | undefined;
}

function planAttached(base: VolumeStatus, attachment: Attachment): Step {
  const { name, phase } = base;
  const { pod } = attachment;
  const attachPodName = pod.metadata.name ?? '';
  const status = { ...base, hotplugVolume: { attachPodName, attachPodUID: pod.metadata.uid ?? '' } };
  // once the guest has it, the state of its claim and pod is no news for the disk
  if (OF_THE_AGENT.includes(phase ?? '')) return { name, status };
  const obstacle = obstacleOf(attachment);
  if (obstacle !== undefined) return { name, status: waiting(status, obstacle) };
  // from here on the agent says why it takes long
  if (phase === VolumePhase.attachedToNode) return { name, status };
  const message = `Created hotplug attachment pod ${attachPodName}, for volume ${name}`;
  const next = { ...status, phase: VolumePhase.attachedToNode, reason: Reason.successfulCreate, message };
  return { name, status: next, event: { reason: Reason.successfulCreate, message } };
}

interface Obstacle {
  readonly phase: string;
  readonly reason: string;
  readonly message: string;
}

/** A volume that the agent has mounted already stays where it is; the reason is told meanwhile. */
function waiting(status: VolumeStatus, { phase, reason, message }: Obstacle): VolumeStatus {
  return OF_THE_AGENT.includes(status.phase ?? '') ? status : { ...status, phase, reason, message };
}

function missingClaim(claimName: string, { dataVolumes }: ExistingStorage, claim: PersistentVolumeClaim | undefined): Obstacle {
  const phase = VolumePhase.pending;
  if (claim !== undefined)
    return { phase, reason: HotplugReason.pvcNotReady, message: `PVC ${claimName} is being deleted; remove the volume` };
  if (dataVolumes.has(claimName))
    return { phase, reason: HotplugReason.pvcNotReady, message: `PVC ${claimName} has not been made for its DataVolume yet` };
  const message = `PVC ${claimName} does not exist, create it or remove the volume`;
  return { phase, reason: Reason.failedPvcNotFound, message };
}

function notAttached(claimName: string, claim: PersistentVolumeClaim): Obstacle {
  const isBound = claim.status?.phase === 'Bound';
  const phase = isBound ? VolumePhase.bound : VolumePhase.pending;
  const message = isBound ? `PVC ${claimName} is bound` : `PVC ${claimName} is in phase ${claim.status?.phase ?? 'Pending'}`;
  return { phase, reason: HotplugReason.pvcNotReady, message };
}

function obstacleOf({ claimName, claim, dataVolume, pod }: Attachment): Obstacle | undefined {
  if (claim.status?.phase !== 'Bound') return unbound(claimName, claim, pod);
  const { phase: filling } = dataVolume?.status ?? {};
  const phase = VolumePhase.bound;
  if (dataVolume !== undefined && filling !== 'Succeeded')
    return { phase, reason: HotplugReason.pvcNotReady, message: `DataVolume ${claimName} is in phase ${filling ?? 'Pending'}` };
  if (pod.status?.phase === 'Running') return undefined;
  const message = `Attachment pod ${pod.metadata.name} is in phase ${pod.status?.phase ?? 'Pending'}`;
  return { phase, reason: HotplugReason.pvcNotReady, message };
}

/** A claim that waits for its first consumer is bound by the attachment pod: what keeps that from a node matters. */
function unbound(claimName: string, claim: PersistentVolumeClaim, pod: Pod): Obstacle {
  const scheduled = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
  const why = scheduled?.status === 'False' && scheduled.message ? `: ${scheduled.message}` : '';
  const message = `PVC ${claimName} is in phase ${claim.status?.phase ?? 'Pending'}${why}`;
  return { phase: VolumePhase.pending, reason: HotplugReason.pvcNotReady, message };
}

function planLeaving({ pods }: HotplugInput, status: VolumeStatus): Step {
  const { name, phase } = status;
  const pod = pods.find((entry) => carries(entry, name));
  if (phase === VolumePhase.unmountedFromPod || BEFORE_THE_AGENT.includes(phase)) {
    if (pod === undefined) return { name, status: undefined };
    const message = `Deleted hotplug attachment pod ${pod.metadata.name}, for volume ${name}`;
    const event: VolumeEvent = { reason: Reason.successfulDelete, message };
    return { name, status, ...(!isDeleting(pod) && { remove: pod, event }) };
  }
  if (phase === VolumePhase.detaching) return { name, status };
  const message = `Volume ${name} is being taken from the guest`;
  return { name, status: { ...status, phase: VolumePhase.detaching, reason: VolumePhase.detaching, message } };
}

/** Attachment pods of volumes that nobody knows any more. */
function orphans({ pods }: HotplugInput, names: ReadonlySet<string>, unwanted: readonly VolumeStatus[]): readonly Pod[] {
  const known = (pod: Pod): boolean =>
    (pod.spec?.volumes ?? []).some(({ name }) => names.has(name) || unwanted.some((status) => status.name === name));
  return pods.filter((pod) => !isDeleting(pod) && !known(pod));
}

/** Whether this pod holds the volume; with a claim: that claim, and not for a while only. */
function carries(pod: Pod, name: string, claimName?: string): boolean {
  const volume = (pod.spec?.volumes ?? []).find((entry) => entry.name === name);
  if (volume?.persistentVolumeClaim === undefined) return false;
  return claimName === undefined || (volume.persistentVolumeClaim.claimName === claimName && !isDeleting(pod));
}

function statusesOf(vmi: VirtualMachineInstance, steps: readonly Step[]): readonly VolumeStatus[] | undefined {
  const before = vmi.status?.volumeStatus ?? [];
  const planned = new Map(steps.map(({ name, status }) => [name, status]));
  const kept = before.filter(({ name }) => !planned.has(name));
  const next = [...kept, ...steps.flatMap(({ status }) => status ?? [])].sort((left, right) => (left.name < right.name ? -1 : 1));
  return deepEqual(next, before) ? undefined : next;
}
