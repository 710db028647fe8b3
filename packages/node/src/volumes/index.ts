export { ALLOWED_ADDRESSES_ANNOTATION, PROGRESS_ANNOTATION } from './mover-pod-runner.ts';
export { removePools } from './pools/remove-pools.ts';
export { VolumeError } from './volume-error.ts';
export { nodeVolumes, type NodeVolumes, type VolumeManagerDeps } from './volume-manager.ts';
export type { GrowingDisks, LiveDisks } from './snapshot-volume.ts';
export { withExports } from './export-pod-runner.ts';
export type { ClaimDisk, PodClaims } from './attach-claims.ts';
export { moverPodStatus } from './mover-status.ts';
export { withUploads } from './upload-intake.ts';
