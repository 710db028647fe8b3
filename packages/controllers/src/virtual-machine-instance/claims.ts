import type { DataVolume, kubevirt, PersistentVolumeClaim, VirtualMachineInstance } from '@slipway/api';
import { withoutHotplugVolumes } from '@slipway/virt';

/** A volume that is backed by a claim; a DataVolume's claim has the DataVolume's name. */
export interface ClaimedVolume {
  /** Volume name in the spec. */
  readonly volume: string;
  readonly claimName: string;
  readonly isDataVolume: boolean;
}

function claimOf(volume: kubevirt.Volume): Omit<ClaimedVolume, 'volume'> | undefined {
  if (volume.dataVolume !== undefined) return { claimName: volume.dataVolume.name, isDataVolume: true };
  const claimName =
    volume.persistentVolumeClaim?.claimName ?? volume.ephemeral?.persistentVolumeClaim?.claimName ?? volume.memoryDump?.claimName;
  return claimName === undefined ? undefined : { claimName, isDataVolume: false };
}

/** Every volume of the instance (or of a VM template's spec) that needs a claim. */
export function claimedVolumes(spec: { readonly volumes?: readonly kubevirt.Volume[] } | undefined): readonly ClaimedVolume[] {
  return (spec?.volumes ?? []).flatMap((volume) => {
    const claim = claimOf(volume);
    return claim === undefined ? [] : [{ volume: volume.name, ...claim }];
  });
}

/** Claims and DataVolumes by name, as far as they exist. */
export interface ExistingStorage {
  readonly claims: ReadonlyMap<string, PersistentVolumeClaim>;
  readonly dataVolumes: ReadonlyMap<string, DataVolume>;
  /** Claim of the firmware's state, once it exists. */
  readonly stateClaimName?: string;
}

export interface StorageState {
  /** A claim that nothing in the cluster is going to make; the instance cannot start. */
  readonly missingClaim?: string;
  /** DataVolume whose population has failed for good. */
  readonly failedDataVolume?: string;
  /** A launcher pod may be created: it is the first consumer of claims that wait for one. */
  readonly canSchedule: boolean;
  /** Every disk holds its data: the guest may start. */
  readonly canRun: boolean;
  readonly usesDataVolumes: boolean;
}

const WAITING_FOR_CONSUMER: readonly string[] = ['WaitForFirstConsumer', 'PendingPopulation'];

/**
 * Judges the storage of one instance. The launcher pod itself is the first consumer of a WaitForFirstConsumer claim, so
 * no temporary pod is needed; the guest starts once every DataVolume has succeeded.
 */
export function storageState(vmi: VirtualMachineInstance, { claims, dataVolumes }: ExistingStorage): StorageState {
  // the guest does not wait for disks that can come while it runs
  const volumes = claimedVolumes(withoutHotplugVolumes(vmi.spec));
  const phases: string[] = [];
  for (const { claimName, isDataVolume } of volumes) {
    const dataVolume = isDataVolume ? dataVolumes.get(claimName) : undefined;
    if (dataVolume === undefined && !claims.has(claimName))
      return {
        missingClaim: claimName,
        canSchedule: false,
        canRun: false,
        usesDataVolumes: isDataVolume,
      };
    if (dataVolume?.status?.phase === 'Failed')
      return {
        failedDataVolume: claimName,
        canSchedule: false,
        canRun: false,
        usesDataVolumes: true,
      };
    // a DataVolume may have been collected after it succeeded: then the claim alone speaks for it
    phases.push(dataVolume === undefined ? 'Succeeded' : (dataVolume.status?.phase ?? ''));
  }
  const canRun = phases.every((phase) => phase === 'Succeeded');
  return {
    canRun,
    canSchedule: phases.every((phase) => phase === 'Succeeded' || WAITING_FOR_CONSUMER.includes(phase)),
    usesDataVolumes: volumes.some((volume) => volume.isDataVolume),
  };
}

/** `status.volumeStatus`, sorted by name; what the node agent wrote (targets, sizes, phases) is kept. */
export function volumeStatuses(vmi: VirtualMachineInstance, storage: ExistingStorage): kubevirt.VolumeStatus[] {
  const known = new Map((vmi.status?.volumeStatus ?? []).map((status) => [status.name, status]));
  return (vmi.spec.volumes ?? [])
    .map((volume): kubevirt.VolumeStatus => {
      const previous = known.get(volume.name) ?? { name: volume.name, target: '' };
      const claimName = claimOf(volume)?.claimName;
      const claim = claimName === undefined ? undefined : storage.claims.get(claimName);
      if (claim === undefined || isInNewClaim(vmi, previous)) return previous;
      return { ...previous, persistentVolumeClaimInfo: claimInfo(claim) };
    })
    .sort((left, right) => (left.name < right.name ? -1 : 1));
}

/** The guest's agent has exchanged the claim, and the spec has not followed yet. */
const isInNewClaim = ({ status }: VirtualMachineInstance, { name, persistentVolumeClaimInfo }: kubevirt.VolumeStatus): boolean =>
  status?.migratedVolumes?.some(
    ({ volumeName, destinationPVCInfo }) =>
      volumeName === name && destinationPVCInfo?.claimName === persistentVolumeClaimInfo?.claimName,
  ) === true;

/** What the status says of a volume's claim. */
export function claimInfo(claim: PersistentVolumeClaim): kubevirt.PersistentVolumeClaimInfo {
  const { accessModes, volumeMode, resources } = claim.spec ?? {};
  const capacity = claim.status?.capacity;
  // the generated types spell out the enums of the schema; a stored claim has passed that validation
  return {
    ...(claim.metadata.name !== undefined && { claimName: claim.metadata.name }),
    ...(accessModes !== undefined && { accessModes: [...accessModes] }),
    ...(volumeMode !== undefined && { volumeMode }),
    ...(capacity !== undefined && { capacity: { ...capacity } }),
    ...(resources?.requests !== undefined && { requests: { ...resources.requests } }),
    ...(volumeMode !== 'Block' && { filesystemOverhead: '0' }),
  } as kubevirt.PersistentVolumeClaimInfo;
}
