export { autoLimits, type PodNamespace } from './auto-limits.ts';
export { claimNameOf } from './volumes.ts';
export type { LauncherContext, NetworkResource, RenderedPod } from './context.ts';
export { backupHooks, guestHostname, renderLauncherPod, SKIP_BACKUP_HOOKS } from './launcher-pod.ts';
export { podInterfaceName } from './network-annotations.ts';
export { isGuaranteed, memoryOverheadBytes, podVcpus } from './overhead.ts';
export { KUBEVIRT_PROFILE, type LauncherProfile, type OverheadFigures, SLIPWAY_PROFILE } from './profile.ts';
export {
  INCOMING_CLAIMS,
  incomingClaims,
  MIGRATION_JOB_NAME,
  MIGRATION_JOB_UID,
  type MigrationTargetInput,
  processorSelector,
  renderMigrationTargetPod,
} from './migration-target.ts';
export { type AttachedVolume, HOTPLUG_IMAGE, renderHotplugPod } from './variants.ts';
