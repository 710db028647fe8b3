export { INSIDE } from './enter-script.ts';
export * from './capability-cache.ts';
export * from './host-programs.ts';
export * from './sandbox-manager.ts';
