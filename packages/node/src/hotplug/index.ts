export { AttachmentRunner } from './attachment-runner.ts';
export { DeviceSync } from './device-sync.ts';
