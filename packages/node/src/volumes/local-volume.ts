import { isLocalProvisioner, type PersistentVolume, SHARED_PROVISIONER } from '@slipway/api';
import { nodeOf, PROVISIONED_BY } from './provision-plan.ts';

/** Name of the volume's directory, which is the uid of the claim it was made for. */
export function volumeUidOf(volume: PersistentVolume): string {
  if (isOnAllNodes(volume)) return volume.spec?.csi?.volumeHandle ?? '';
  const path = volume.spec?.local?.path ?? '';
  return path.slice(path.lastIndexOf('/') + 1);
}

/** Whether every node reaches the volume. */
export const isOnAllNodes = ({ spec }: PersistentVolume): boolean => spec?.csi?.driver === SHARED_PROVISIONER;

/** Whether an agent of this node made the volume. */
export const isMine = (volume: PersistentVolume, nodeName: string): boolean =>
  isLocalProvisioner(volume.metadata.annotations?.[PROVISIONED_BY]) && nodeOf(volume) === nodeName;
