export { DISK_TOOLS_IMAGE, DiskToolsRunner } from './disk-tools-runner.ts';
