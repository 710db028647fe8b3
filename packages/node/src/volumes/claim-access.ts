import type { PersistentVolumeClaim } from '@slipway/api';
import { VolumeError } from './volume-error.ts';

export interface ClaimAccess {
  /** ReadOnlyMany and nothing else: whoever fills the claim writes it, guests read it. */
  readonly isReadOnly: boolean;
  /** Not ReadWriteMany. */
  readonly isForOneNode: boolean;
  /** ReadWriteOncePod: nobody shares the disk, whatever VMs say. */
  readonly isForOnePod: boolean;
}

/** What the access modes of a claim mean for the guests that use it. Pure. */
export const claimAccess = (modes: readonly string[]): ClaimAccess => ({
  isReadOnly: modes.length > 0 && modes.every((mode) => mode === 'ReadOnlyMany'),
  isForOneNode: !modes.includes('ReadWriteMany'),
  isForOnePod: modes.includes('ReadWriteOncePod'),
});

/** `VolumeInUse` in the words of Kubernetes, which people search for; any other error as it is. */
export function multiAttach({ spec }: PersistentVolumeClaim, error: unknown): unknown {
  if (!(error instanceof VolumeError) || error.reason !== 'VolumeInUse') return error;
  return new VolumeError('VolumeInUse', `Multi-Attach error for volume "${spec?.volumeName}" ${error.message}`, error);
}
