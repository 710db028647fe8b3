import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import { isReadOnlyDisk } from '../domain/index.ts';
import { claimNameOf } from '../pod/volumes.ts';

/** Why something of a guest ties it to its node. */
export interface MigrationObstacle {
  readonly reason: string;
  readonly message: string;
}

type Obstacle = MigrationObstacle | undefined;

const ALLOW_BRIDGE = 'kubevirt.io/allow-pod-bridge-network-live-migration';

/** Only the interface on the pod network counts. */
function interfaceObstacle(vmi: VirtualMachineInstance, config: ClusterConfig): Obstacle {
  const { networks = [], domain } = vmi.spec;
  const network = networks.find(({ pod }) => pod !== undefined)?.name;
  const nic = domain.devices.interfaces?.find(({ name }) => name === network);
  if (network === undefined || (nic !== undefined && isMovable(nic, vmi, config))) return undefined;
  return {
    reason: 'InterfaceNotLiveMigratable',
    message:
      'cannot migrate VMI which does not use masquerade, bridge with kubevirt.io/allow-pod-bridge-network-live-migration VM annotation or a migratable plugin to connect to the pod network',
  };
}

function isMovable(nic: kubevirt.Interface, { metadata }: VirtualMachineInstance, { configuration }: ClusterConfig): boolean {
  if (nic.masquerade || nic.passtBinding) return true;
  if (nic.bridge) return metadata.annotations?.[ALLOW_BRIDGE] !== undefined;
  return nic.binding !== undefined && configuration.network?.binding?.[nic.binding.name]?.migration !== undefined;
}

function deviceObstacle({ spec }: VirtualMachineInstance, { hasGate }: ClusterConfig): Obstacle {
  const { hostDevices = [], gpus = [] } = spec.domain.devices;
  const isTied = hostDevices.length > 0 || gpus.length > 1 || (gpus.length === 1 && !hasGate('VGPULiveMigration'));
  return isTied
    ? { reason: 'HostDeviceNotLiveMigratable', message: 'VMI uses a PCI host devices' } // KubeVirt-compat: its words
    : undefined;
}

function machineObstacle({ spec }: VirtualMachineInstance): Obstacle {
  const { launchSecurity, features } = spec.domain;
  if (launchSecurity?.sev || launchSecurity?.snp) return { reason: 'SEVNotLiveMigratable', message: 'VMI uses SEV' };
  if (launchSecurity?.tdx) return { reason: 'TDXNotLiveMigratable', message: 'VMI uses TDX' };
  if (launchSecurity && spec.architecture === 's390x')
    return { reason: 'SecureExecutionNotLiveMigratable', message: 'VMI uses Secure Execution' };
  if (features?.hypervPassthrough?.enabled !== undefined ? features.hypervPassthrough.enabled : features?.hypervPassthrough)
    return { reason: 'HypervPassthroughNotLiveMigratable', message: 'VMI uses hyperv passthrough' };
  return undefined;
}

const isOnEveryNode = (claim: kubevirt.PersistentVolumeClaimInfo): boolean => (claim.accessModes ?? []).includes('ReadWriteMany');

/** KubeVirt's rule: every claim is shared. */
function strictDiskObstacle({ spec, status }: VirtualMachineInstance): Obstacle {
  const local = status?.volumeStatus?.find(
    ({ persistentVolumeClaimInfo: claim }) => claim !== undefined && !isOnEveryNode(claim),
  );
  const claimName = local?.persistentVolumeClaimInfo?.claimName;
  if (local !== undefined)
    return disks(
      `cannot migrate VMI: PVC ${claimName} is not shared, live migration requires that all PVCs must be shared (using ReadWriteMany access mode)`,
    );
  return hostDiskObstacle(spec);
}

const disks = (message: string): MigrationObstacle => ({ reason: 'DisksNotLiveMigratable', message });

function hostDiskObstacle({ volumes = [] }: kubevirt.VirtualMachineInstanceSpec): Obstacle {
  const hostDisk = volumes.find((volume) => volume.hostDisk && volume.hostDisk.shared !== true);
  return hostDisk && disks(`cannot migrate VMI: hostDisk ${hostDisk.name} is a file of its node`);
}

/** Ours: disks that only this node has are copied with the guest, if something writes them. */
function localDiskObstacle({ spec, status }: VirtualMachineInstance): Obstacle {
  const claims = new Map(status?.volumeStatus?.map(({ name, persistentVolumeClaimInfo }) => [name, persistentVolumeClaimInfo]));
  for (const volume of spec.volumes ?? []) {
    const claim = claims.get(volume.name);
    const disk = spec.domain.devices.disks?.find(({ name }) => name === volume.name);
    if (claim === undefined || disk === undefined || volume.ephemeral || isOnEveryNode(claim)) continue;
    const tie = (why: string): MigrationObstacle => disks(`cannot migrate VMI: PVC ${claimNameOf(volume)} is ${why}`);
    if (disk.shareable) return tie('shared with VMs of this node, and no other node has it');
    if (volume.persistentVolumeClaim?.readOnly || isReadOnlyDisk(disk, volume))
      return tie('read-only for the guest and only this node has it: disks that nobody writes are not copied');
    if (disk.lun) return tie('a LUN of this node');
  }
  return hostDiskObstacle(spec);
}

function fileSystemObstacle({ spec }: VirtualMachineInstance): Obstacle {
  const [share] = spec.domain.devices.filesystems ?? [];
  if (share === undefined) return undefined;
  const message = `cannot migrate VMI: file system ${share.name} is shared with the guest by virtiofs`;
  return { reason: 'VirtIOFSNotLiveMigratable', message };
}

function storageObstacles(vmi: VirtualMachineInstance, config: ClusterConfig): readonly MigrationObstacle[] {
  const reservation = vmi.spec.domain.devices.disks?.find(({ lun }) => lun?.reservation === true);
  return [
    config.strictLiveMigratable === true ? strictDiskObstacle(vmi) : localDiskObstacle(vmi),
    fileSystemObstacle(vmi),
    reservation && { reason: 'PersistentReservationNotLiveMigratable', message: `disk ${reservation.name} reserves its LUN` },
  ].filter((obstacle) => obstacle !== undefined);
}

/** The first reason for which a running guest cannot move to another node. Pure. */
export function liveMigrationObstacle(vmi: VirtualMachineInstance, config: ClusterConfig): Obstacle {
  return (
    interfaceObstacle(vmi, config) ?? deviceObstacle(vmi, config) ?? machineObstacle(vmi) ?? storageObstacles(vmi, config)[0]
  );
}

/** Why the disks of a running guest cannot move, all reasons at once. Pure. */
export function storageMigrationObstacle(vmi: VirtualMachineInstance, config: ClusterConfig): Obstacle {
  const all = storageObstacles(vmi, config);
  if (all.length === 0) return undefined;
  return { reason: 'NotMigratable', message: all.map(({ reason, message }) => `${reason}: ${message}`).join(', ') };
}

/** What of a volume would be lost if it were not copied. */
function isLocalAndWritten(vmi: VirtualMachineInstance, volume: kubevirt.Volume): boolean {
  const { devices } = vmi.spec.domain;
  const disk = devices.disks?.find(({ name }) => name === volume.name);
  if (disk === undefined || devices.filesystems?.some(({ name }) => name === volume.name)) return false;
  if (volume.hostDisk) return volume.hostDisk.shared !== true;
  const claim = vmi.status?.volumeStatus?.find(({ name }) => name === volume.name)?.persistentVolumeClaimInfo;
  if (claim !== undefined && !volume.ephemeral) return !isOnEveryNode(claim);
  return !isReadOnlyDisk(disk, volume);
}

/** How this guest would move: with disks to copy, or without. Pure. */
export function migrationMethod(vmi: VirtualMachineInstance): 'BlockMigration' | 'LiveMigration' {
  const hasMoves = (vmi.status?.migratedVolumes ?? []).length > 0;
  const isBlock = hasMoves || (vmi.spec.volumes ?? []).some((volume) => isLocalAndWritten(vmi, volume));
  return isBlock ? 'BlockMigration' : 'LiveMigration';
}
