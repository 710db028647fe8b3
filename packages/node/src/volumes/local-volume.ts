import { isLocalProvisioner, type PersistentVolume } from '@slipway/api';
import { nodeOf, PROVISIONED_BY } from './provision-plan.ts';

/** Name of the volume's directory, which is the uid of the claim it was made for. */
export function volumeUidOf(volume: PersistentVolume): string {
  const path = volume.spec?.local?.path ?? '';
  return path.slice(path.lastIndexOf('/') + 1);
}

/** Whether an agent of this node made the volume. */
export const isMine = (volume: PersistentVolume, nodeName: string): boolean =>
  isLocalProvisioner(volume.metadata.annotations?.[PROVISIONED_BY]) && nodeOf(volume) === nodeName;
