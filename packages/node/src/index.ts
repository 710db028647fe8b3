export type * from './contracts.ts';
export * from './network/index.ts';
export * from './volumes/index.ts';
export { type KvmState, probeKvm } from './kvm/index.ts';
export { type GuestProcesses, listGuests } from './agent/guest-list.ts';
export { destroyNode, stopGuests } from './agent/destroy-node.ts';
