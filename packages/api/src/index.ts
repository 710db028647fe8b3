export * as cdi from './generated/cdi.ts';
export * from './application-aware-quotas.ts';
export * from './cluster-quotas.ts';
export type * from './core.ts';
export * from './endpoint-slices.ts';
export type * from './host-path-provisioner.ts';
export * from './kinds.ts';
export * from './kubevirt-constants.ts';
export * from './local-provisioners.ts';
export * from './network-policies.ts';
export * from './node-verbs.ts';
export * from './storage-pool-reports.ts';
export * from './volume-snapshots.ts';
export * as kubevirt from './generated/kubevirt.ts';
export type {
  DataImportCron,
  DataSource,
  DataVolume,
  StorageProfile,
  VolumeCloneSource,
  VolumeImportSource,
  VolumeUploadSource,
} from './generated/cdi.ts';
export type { KubeVirt, VirtualMachine, VirtualMachineInstance, VirtualMachineInstanceMigration } from './generated/kubevirt.ts';
export * from './crds/index.ts';
export { builtinSchemas } from './builtin-schemas.ts';
export { isQuantitySchema } from './crds/compact-schemas.ts';
export * from './feature-gates.ts';
