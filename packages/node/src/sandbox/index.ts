export { INSIDE, LOG_DIRECTORY } from './enter-script.ts';
export * from './capability-cache.ts';
export type { HostCapabilities } from './host-capabilities.ts';
export * from './host-programs.ts';
export { connectLibvirt } from './libvirt-socket.ts';
export * from './sandbox-manager.ts';
export * from './sandbox-processes.ts';
export { readSandboxRecords } from './sandbox-records.ts';
