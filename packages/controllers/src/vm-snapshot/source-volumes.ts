import type {
  kubevirt,
  PersistentVolume,
  PersistentVolumeClaim,
  StorageProfile,
  VirtualMachine,
  VirtualMachineInstance,
  VolumeSnapshotClass,
} from '@slipway/api';
import type { Lister } from '@slipway/runtime';
import { claimedVolumes } from '../virtual-machine-instance/claims.ts';
import { isFinal } from '../virtual-machine-instance/instance-state.ts';
import { memoryClaim, memoryStateOf } from '../vm-suspend/memory-state.ts';
import { chooseSnapshotClass, volumeIdentity } from '../volume-snapshot/index.ts';

/** What tells whether a volume can have snapshots. */
export interface StorageFacts {
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly volumes: Lister<PersistentVolume>;
  readonly profiles: Lister<StorageProfile>;
  readonly classes: Lister<VolumeSnapshotClass>;
}

type Volume = kubevirt.Volume;

/** The class for snapshots of a claim: what its storage profile says, else the one of its driver; or why there is none. */
export function snapshotClassOf(
  claim: PersistentVolumeClaim,
  { volumes, profiles, classes }: StorageFacts,
): { readonly name: string } | { readonly reason: string } {
  const { storageClassName: className = '', volumeName } = claim.spec ?? {};
  const profile = profiles.get({ namespace: '', name: className });
  const preferred = profile?.status?.snapshotClass ?? profile?.spec.snapshotClass;
  if (preferred) return { name: preferred };
  const driver = driverOf(volumeName ? volumes.get({ namespace: '', name: volumeName }) : undefined, profile);
  if (driver === undefined) return { reason: `StorageClass ${className} offers no snapshots` };
  const chosen = chooseSnapshotClass(classes.list(), driver);
  return chosen === undefined
    ? { reason: `No VolumeSnapshotClass: Volume snapshots are not configured for this StorageClass [${className}]` }
    : { name: chosen.metadata.name ?? '' };
}

/** Before a claim is bound, its class says whose it will be. */
const driverOf = (volume: PersistentVolume | undefined, profile: StorageProfile | undefined): string | undefined =>
  volume === undefined ? profile?.status?.provisioner : volumeIdentity(volume)?.driver;

/** One volume of a VM that a snapshot holds. */
export interface SourceVolume {
  readonly volumeName: string;
  readonly claim: PersistentVolumeClaim;
  readonly snapshotClass: string;
}

export interface SourceVolumes {
  readonly included: readonly SourceVolume[];
  /** Volumes that have no claim, or one that has no snapshots. */
  readonly excluded: readonly string[];
  /** A claim among the excluded ones: its data is missing from the snapshot. */
  readonly isPartial: boolean;
  /** Claims that do not exist. */
  readonly missing: readonly string[];
}

/** On the claim with EFI variables and TPM state: the name of its VM. */
export const PERSISTENT_STATE_FOR = 'persistent-state-for';

/** Whether the claim holds firmware state or memory of a VM. */
export const isStateClaim = (claim: PersistentVolumeClaim): boolean =>
  claim.metadata.labels?.[PERSISTENT_STATE_FOR] !== undefined || memoryStateOf(claim) !== undefined;

/** Claims that belong to a VM although no volume names them: firmware state, and the memory of one that is suspended. */
export function stateClaims(
  vm: VirtualMachine,
  vmi: VirtualMachineInstance | undefined,
  claims: Lister<PersistentVolumeClaim>,
): readonly PersistentVolumeClaim[] {
  const firmware = claims
    .ownedBy(vm.metadata.uid ?? '')
    .filter(({ metadata }) => metadata.labels?.[PERSISTENT_STATE_FOR] === vm.metadata.name);
  // while the guest runs its memory is newer than any claim
  const memory = vmi === undefined || isFinal(vmi) ? memoryClaim(vm, claims) : undefined;
  return memory === undefined ? firmware : [...firmware, memory];
}

/** Everything that a snapshot of a VM holds. */
export function volumesOfMachine(
  vm: VirtualMachine,
  vmi: VirtualMachineInstance | undefined,
  facts: StorageFacts,
): SourceVolumes {
  const volumes = sourceVolumes(vm.metadata.namespace ?? '', currentVolumes(vm, vmi), facts);
  const states = stateClaims(vm, vmi, facts.claims).map((claim) => ({ claim, chosen: snapshotClassOf(claim, facts) }));
  const included = states.flatMap(({ claim, chosen }) =>
    'name' in chosen ? [{ volumeName: claim.metadata.name ?? '', claim, snapshotClass: chosen.name }] : [],
  );
  return {
    ...volumes,
    included: [...volumes.included, ...included],
    isPartial: volumes.isPartial || included.length < states.length,
  };
}

/** Sorts the volumes of a VM, or of its running instance, into those that a snapshot holds and the others. */
export function sourceVolumes(namespace: string, volumes: readonly Volume[], facts: StorageFacts): SourceVolumes {
  const claimed = new Map(claimedVolumes({ volumes }).map(({ volume, claimName }) => [volume, claimName]));
  const included: SourceVolume[] = [];
  const excluded: string[] = [];
  const missing: string[] = [];
  let isPartial = false;
  for (const { name, ephemeral } of volumes) {
    const claimName = ephemeral === undefined ? claimed.get(name) : undefined;
    const claim = claimName === undefined ? undefined : facts.claims.get({ namespace, name: claimName });
    if (claimName !== undefined && claim === undefined) missing.push(claimName);
    const chosen = claim === undefined ? undefined : snapshotClassOf(claim, facts);
    if (claim !== undefined && chosen !== undefined && 'name' in chosen)
      included.push({ volumeName: name, claim, snapshotClass: chosen.name });
    else {
      excluded.push(name);
      isPartial ||= claimName !== undefined;
    }
  }
  return { included, excluded, isPartial, missing };
}

/** Volumes as they are now: of the running instance, with what was plugged in, else of the VM. */
export function currentVolumes(vm: VirtualMachine, vmi: VirtualMachineInstance | undefined): readonly Volume[] {
  return vmi?.spec.volumes ?? vm.spec.template.spec?.volumes ?? [];
}

/** `vm.status.volumeSnapshotStatuses`. */
export function volumeSnapshotStatuses(
  vm: VirtualMachine,
  vmi: VirtualMachineInstance | undefined,
  facts: StorageFacts,
): kubevirt.VolumeSnapshotStatus[] {
  const namespace = vm.metadata.namespace ?? '';
  return currentVolumes(vm, vmi).map((volume) => {
    const { name } = volume;
    const claimName = volume.ephemeral === undefined ? claimedVolumes({ volumes: [volume] })[0]?.claimName : undefined;
    if (claimName === undefined) {
      const type = Object.keys(volume).find((key) => key !== 'name') ?? 'unknown';
      return { name, enabled: false, reason: `Snapshot is not supported for this volumeSource type [${type}]` };
    }
    const claim = facts.claims.get({ namespace, name: claimName });
    if (claim === undefined) return { name, enabled: false, reason: 'PVC not found' };
    const chosen = snapshotClassOf(claim, facts);
    return 'name' in chosen ? { name, enabled: true } : { name, enabled: false, reason: chosen.reason };
  });
}
