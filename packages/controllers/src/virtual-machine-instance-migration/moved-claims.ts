import { type PersistentVolume, type PersistentVolumeClaim, type VirtualMachineInstance, VolumePhase } from '@slipway/api';
import { claimNameOf, hotpluggableVolumes, isHotpluggable } from '@slipway/virt';
import { nodesOf } from '../persistent-volume/clone-source.ts';
import { affinityTo } from '../volume-relocation/index.ts';

export interface ClaimFacts {
  readonly claim: (name: string) => PersistentVolumeClaim | undefined;
  readonly volume: (name: string) => PersistentVolume | undefined;
}

function volumeOf(name: string, { claim, volume }: ClaimFacts): PersistentVolume | undefined {
  const volumeName = claim(name)?.spec?.volumeName;
  return volumeName ? volume(volumeName) : undefined;
}

/**
 * Claims that a target pod cannot name: those that one node alone has, and hotplugged ones, which no launcher pod names.
 * Their content comes with the guest. Pure.
 */
export function claimsToMove(vmi: VirtualMachineInstance, stateClaim: string | undefined, facts: ClaimFacts): readonly string[] {
  const hotplugged = new Set(hotpluggableVolumes(vmi.spec).map((volume) => claimNameOf(volume)));
  const names = [...(vmi.spec.volumes ?? []).map(claimNameOf), stateClaim].filter((name) => name !== undefined);
  const isLocal = (name: string): boolean => {
    const volume = volumeOf(name, facts);
    return volume !== undefined && nodesOf(volume).length > 0;
  };
  return [...new Set(names)].filter((name) => hotplugged.has(name) || isLocal(name)).sort();
}

/** Claims whose content the guest leaves where it is: those that it does not write, and those that have not been plugged. */
function claimsLeft(vmi: VirtualMachineInstance): ReadonlySet<string | undefined> {
  // what is in the guest has a target there, also while the new node's pod for it is not there yet
  const isPlugged = (volume: string): boolean =>
    vmi.status?.volumeStatus?.some(({ name, phase, target }) => name === volume && (phase === VolumePhase.ready || target)) ===
    true;
  const left = (vmi.spec.volumes ?? []).filter((volume) => {
    const { name, ephemeral, memoryDump, persistentVolumeClaim } = volume;
    if (ephemeral ?? memoryDump) return true;
    return persistentVolumeClaim?.readOnly === true || (isHotpluggable(volume) && !isPlugged(name));
  });
  return new Set(left.map(claimNameOf));
}

/**
 * Volumes whose content has gone from one node to another with a guest, as they are now: those of these claims that were on
 * the source's node alone. Pure.
 */
export function movedVolumes(
  vmi: VirtualMachineInstance,
  claims: readonly string[],
  { source, target }: { readonly source: string; readonly target: string },
  facts: ClaimFacts,
): readonly PersistentVolume[] {
  const left = claimsLeft(vmi);
  return claims.flatMap((name) => {
    if (left.has(name)) return [];
    const volume = volumeOf(name, facts);
    const nodes = volume === undefined ? [] : nodesOf(volume);
    return volume !== undefined && nodes.length === 1 && nodes[0] === source ? [onNode(volume, target)] : [];
  });
}

const onNode = (volume: PersistentVolume, node: string): PersistentVolume => ({
  ...volume,
  spec: { ...volume.spec, nodeAffinity: affinityTo(node) },
});
