export type { Cause, CauseReason } from './causes.ts';
export { poolCause, validatePool, validatePoolUpdate, validatePreset, validateReplicaSet } from './groups.ts';
export { type Requester, validateVirtualMachineInstance, validateVirtualMachineInstanceUpdate } from './instance.ts';
export { checkInstanceSpec } from './instance-spec.ts';
export { validateInstancetype, validatePreference } from './instancetypes.ts';
export { validateKubeVirt } from './kubevirt.ts';
export * from './migrations.ts';
export * from './snapshots.ts';
export { validateVirtualMachine, validateVirtualMachineUpdate, type VirtualMachineContext } from './virtual-machine.ts';
