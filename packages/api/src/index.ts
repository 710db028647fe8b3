export * as cdi from './generated/cdi.ts';
export type * from './core.ts';
export * from './kinds.ts';
export * from './kubevirt-constants.ts';
export * from './node-verbs.ts';
export * as kubevirt from './generated/kubevirt.ts';
export type { DataSource, DataVolume, StorageProfile } from './generated/cdi.ts';
export type { KubeVirt, VirtualMachine, VirtualMachineInstance, VirtualMachineInstanceMigration } from './generated/kubevirt.ts';
export * from './crds/index.ts';
