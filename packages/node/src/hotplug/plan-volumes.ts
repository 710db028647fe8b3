import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { VmiPhase, VolumePhase } from '@slipway/api';
import type { LiveDisk, LiveDomain } from './live-domain.ts';

/** One step that brings a hotplugged volume nearer to what its status asks for. */
export type VolumeStep =
  | { readonly action: 'attach'; readonly name: string }
  /** The drive is there, empty. */
  | { readonly action: 'insert'; readonly name: string; readonly disk: LiveDisk }
  /** The guest has it; the status does not say so yet. */
  | { readonly action: 'report'; readonly name: string; readonly disk: LiveDisk }
  | { readonly action: 'detach'; readonly name: string; readonly disk: LiveDisk }
  /** The drive stays. */
  | { readonly action: 'eject'; readonly name: string; readonly disk: LiveDisk }
  /** No device is left: the volume is given back. */
  | { readonly action: 'release'; readonly name: string; readonly claimName: string | undefined };

const TO_ATTACH: readonly (string | undefined)[] = [VolumePhase.attachedToNode, VolumePhase.mountedToPod, VolumePhase.ready];

/** Compares the volumes that the controller handed over with the disks of the running domain. Pure. */
export function planVolumes(vmi: VirtualMachineInstance, live: LiveDomain): readonly VolumeStep[] {
  if (vmi.status?.phase !== VmiPhase.running) return [];
  const volumes = new Set((vmi.spec.volumes ?? []).map(({ name }) => name));
  const drives = new Set((vmi.spec.domain.devices.disks ?? []).flatMap(({ name, cdrom }) => (cdrom === undefined ? [] : [name])));
  return (vmi.status.volumeStatus ?? []).flatMap((status) => {
    const { name } = status;
    const disk = live.disks.find((entry) => entry.name === name);
    return stepOf(status, { isWanted: volumes.has(name), isDrive: drives.has(name), disk }) ?? [];
  });
}

/** Whether a guest has volumes that were or are to be hotplugged; nothing is asked of libvirt for others. Pure. */
export function concernsVolumes(vmi: VirtualMachineInstance): boolean {
  return (vmi.status?.volumeStatus ?? []).some(({ hotplugVolume }) => hotplugVolume !== undefined);
}

interface VolumeView {
  /** The spec has the volume. */
  readonly isWanted: boolean;
  /** Its disk is a CD-ROM drive, which is there without a volume too. */
  readonly isDrive: boolean;
  readonly disk: LiveDisk | undefined;
}

function stepOf(status: kubevirt.VolumeStatus, { isWanted, isDrive, disk }: VolumeView): VolumeStep | undefined {
  const { name, phase, hotplugVolume } = status;
  if (hotplugVolume === undefined) return undefined;
  const isThere = disk !== undefined && (!isDrive || disk.source !== undefined);
  if (phase === VolumePhase.detaching) {
    if (isThere) return { action: isDrive ? 'eject' : 'detach', name, disk };
    return { action: 'release', name, claimName: status.persistentVolumeClaimInfo?.claimName };
  }
  if (!isWanted || !TO_ATTACH.includes(phase)) return undefined;
  if (!isThere) return disk === undefined ? { action: 'attach', name } : { action: 'insert', name, disk };
  return phase === VolumePhase.ready && status.target === disk.target ? undefined : { action: 'report', name, disk };
}
