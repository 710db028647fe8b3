export * from './agent/index.ts';
export type * from './contracts.ts';
export { type KvmState, probeKvm } from './kvm/index.ts';
export { fenceDirectory, WATCHDOG_PROGRAM } from './fencing/index.ts';
export * from './instance-link/index.ts';
