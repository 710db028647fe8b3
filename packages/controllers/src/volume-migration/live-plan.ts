import { COPY_REASON, type kubevirt, type VirtualMachineInstance, VmCondition } from '@slipway/api';
import { formatTime } from '@slipway/apimachinery';
import { isReadOnlyDisk } from '@slipway/virt';
import { isMigrating } from '../hotplug/migration-obstacle.ts';
import { transition } from '../virtual-machine-instance/instance-state.ts';
import { cloneSourceOf, claimsOwnSize, type MoveFacts, type MovePlan, ownedBy, placed, refuse, wait } from './migration-plan.ts';
import type { MigrationRecord, MovedVolume } from './migration-record.ts';

export interface LiveFacts extends MoveFacts {
  readonly vmi: VirtualMachineInstance;
  /** Nodes of the destination; none: all of them. */
  readonly nodes: readonly string[];
}

/** The next step towards a destination that the guest's disk can be copied into; `done` when it can. Pure. */
export function planDestination(facts: LiveFacts): MovePlan {
  const { moved, claim, dataVolume } = facts;
  const obstacle = guestObstacle(facts) ?? claimsOwnSize(facts);
  if (obstacle !== undefined) return obstacle;
  if (dataVolume === undefined && claim === undefined) return missing(facts);
  const foreign = foreignContent(facts);
  if (foreign !== undefined) return foreign;
  return moved.live ? (placed(facts) ?? planReady(facts)) : { action: 'accept' };
}

/** What of the guest is against a copy. */
function guestObstacle({ vmi, volume }: LiveFacts): MovePlan | undefined {
  const { phase = 'Pending' } = vmi.status ?? {};
  if (phase !== 'Running') return wait(`the guest is ${phase}`);
  if (isMigrating(vmi)) return wait('the guest moves to another node; its disks move afterwards');
  const unfit = unfitDisk(vmi, volume);
  return unfit === undefined ? undefined : refuse(`volume ${volume} cannot move while the VM runs: ${unfit}`);
}

/** A destination that was blank, until the guest's node has it for itself. */
function planReady({ vmi, destination, claim, dataVolume, users, nodes }: LiveFacts): MovePlan {
  const phase = unfinished(claim, dataVolume);
  if (phase !== undefined) return wait(`claim ${destination} is ${phase}`);
  const node = vmi.status?.nodeName ?? '';
  if (nodes.length > 0 && !nodes.includes(node))
    return refuse(
      `claim ${destination} is on node ${nodes.join(', ')} and the VM runs on ${node}: take a claim of that node or of class "shared", or stop the VM`,
    );
  return users.length > 0 ? refuse(`claim ${destination} is used by pod ${users.join(', ')}`) : { action: 'done' };
}

function unfinished(claim: LiveFacts['claim'], dataVolume: LiveFacts['dataVolume']): string | undefined {
  if (claim?.status?.phase !== 'Bound') return claim?.status?.phase ?? 'not there yet';
  if (dataVolume === undefined || dataVolume.status?.phase === 'Succeeded') return undefined;
  return dataVolume.status?.phase ?? 'waiting';
}

function missing(facts: LiveFacts): MovePlan {
  const { vm, destination } = facts;
  const template = vm.spec.dataVolumeTemplates?.find(({ metadata }) => metadata.name === destination);
  if (template === undefined)
    return wait(`claim ${destination} does not exist yet: create it, or a blank DataVolume of that name`);
  return { action: 'create', dataVolume: ownedBy(facts, template, { blank: {} }) };
}

/** Nothing that somebody may miss is written over. */
function foreignContent({ moved, destination, claim, dataVolume }: LiveFacts): MovePlan | undefined {
  if (dataVolume !== undefined) {
    if (dataVolume.metadata.deletionTimestamp !== undefined) return wait(`DataVolume ${destination} is on its way out`);
    if (dataVolume.spec.source?.blank !== undefined) return undefined;
    return refuse(`DataVolume ${destination} has content of its own: make it with "source: {blank: {}}", or stop the VM`);
  }
  if (claim?.metadata.deletionTimestamp !== undefined) return wait(`claim ${destination} is on its way out`);
  const isFilled =
    claim !== undefined && (cloneSourceOf(claim) !== undefined || (claim.status?.phase === 'Bound' && !moved.live));
  if (!isFilled) return undefined;
  return refuse(`claim ${destination} has a volume of its own: take a DataVolume with "source: {blank: {}}", or stop the VM`);
}

function unfitDisk({ spec }: VirtualMachineInstance, name: string): string | undefined {
  const disk = spec.domain.devices.disks?.find((found) => found.name === name);
  if (disk === undefined) return 'it is shared as a directory';
  if (disk.shareable) return 'other VMs may write the disk';
  if (disk.lun !== undefined) return 'it is a LUN';
  const volume = spec.volumes?.find((found) => found.name === name);
  return isReadOnlyDisk(disk, volume) ? 'the guest cannot write the disk' : undefined;
}

type MigratedVolume = kubevirt.StorageMigratedVolumeInfo;

/** Whether the guest's disk is in its new claim, as its agent says. Pure. */
export function hasArrived(vmi: VirtualMachineInstance, { volumeName, destinationPVCInfo }: MigratedVolume): boolean {
  const claim = claimInUse(vmi, volumeName);
  return claim !== undefined && claim === destinationPVCInfo?.claimName;
}

/** The claim that a running guest writes, as its agent says. Pure. */
export const claimInUse = ({ status }: VirtualMachineInstance, volume: string): string | undefined =>
  status?.volumeStatus?.find(({ name }) => name === volume)?.persistentVolumeClaimInfo?.claimName;

/** What the agent says of a copy. Pure. */
export function copyProgress({ status }: VirtualMachineInstance, volume: string): string {
  const trouble = status?.conditions?.find(
    ({ type, status: is, message }) =>
      type === 'Synchronized' && is === 'False' && message?.includes(`olume ${volume} cannot move`),
  );
  const told = status?.volumeStatus?.find(({ name }) => name === volume);
  return trouble?.message ?? (told?.reason === COPY_REASON ? told.message : undefined) ?? 'the copy begins';
}

const VOLUMES_CHANGE = VmCondition.volumesChange;
const changeOf = ({ status }: VirtualMachineInstance) => status?.conditions?.find(({ type }) => type === VOLUMES_CHANGE);

/** The agent was asked to leave the guest where it is, and works on that. Pure. */
export const isCalledOff = (vmi: VirtualMachineInstance): boolean => changeOf(vmi)?.status === 'False';

function withChange(
  vmi: VirtualMachineInstance,
  change: Pick<kubevirt.VirtualMachineInstanceCondition, 'status' | 'reason' | 'message'> | undefined,
  nowMs: number,
): VirtualMachineInstance {
  const others = (vmi.status?.conditions ?? []).filter(({ type }) => type !== VOLUMES_CHANGE);
  const next = change && transition(changeOf(vmi), { type: VOLUMES_CHANGE, ...change } as never, formatTime(nowMs));
  return { ...vmi, status: { ...vmi.status, conditions: next === undefined ? others : [...others, next] } };
}

/** The VMI whose agent is told to copy these volumes. Pure. */
export function toldToCopy(
  vmi: VirtualMachineInstance,
  migratedVolumes: readonly MigratedVolume[],
  nowMs: number,
): VirtualMachineInstance {
  const told = withChange(vmi, { status: 'True', reason: 'VolumesChangeInProgress' }, nowMs);
  return { ...told, status: { ...told.status, migratedVolumes: [...migratedVolumes] } };
}

/** The VMI whose agent is told to leave the guest where it is. Pure. */
export const toldToStop = (vmi: VirtualMachineInstance, nowMs: number): VirtualMachineInstance =>
  withChange(vmi, { status: 'False', reason: 'VolumesChangeCancellation', message: 'the VM names other claims' }, nowMs);

/** The VMI whose spec names the claims that its guest has now. Pure. */
export function afterMoves(vmi: VirtualMachineInstance, nowMs: number): VirtualMachineInstance {
  const arrived = (vmi.status?.migratedVolumes ?? []).filter((volume) => hasArrived(vmi, volume));
  const volumes = (vmi.spec.volumes ?? []).map((volume) => {
    const to = arrived.find(({ volumeName }) => volumeName === volume.name)?.destinationPVCInfo?.claimName;
    return to === undefined ? volume : { name: volume.name, persistentVolumeClaim: { claimName: to } };
  });
  const { migratedVolumes: _, ...status } = withChange(vmi, undefined, nowMs).status ?? {};
  return { ...vmi, spec: { ...vmi.spec, volumes }, status };
}

/**
 * The record as it has to be now that `contentOf` a volume is known: whatever was tried before, the content is in that
 * claim, and what is there already is no longer on its way. A guest that runs may still be copied. Pure.
 */
export function settledRecord(
  record: MigrationRecord,
  targets: ReadonlyMap<string, string>,
  isRunning: boolean,
  contentOf: (volume: string, moved: MovedVolume) => string | undefined,
): MigrationRecord {
  return Object.fromEntries(
    Object.entries(record).flatMap(([volume, moved]) => {
      const content = contentOf(volume, moved);
      const target = targets.get(volume);
      if (content === undefined) return [[volume, moved] as const];
      if (content === target) return [];
      const isUnderWay = isRunning && content === moved.from && (moved.tried === undefined || moved.tried === target);
      return [[volume, isUnderWay ? moved : { from: content }] as const];
    }),
  );
}
