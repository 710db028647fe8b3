export type { GuestReport, ProcessReport, StatusReport } from './lifecycle/status-report.ts';
export { type ImageServer, serveImages } from './demo/image-server.ts';
export { ensureCredentials } from './instance/credentials.ts';
export { planInstance } from './instance/instance-config.ts';
export { saveInstance } from './instance/instance-store.ts';
export { type InstancePaths, instancePaths } from './instance/paths.ts';
export { serverArgv } from './lifecycle/component-specs.ts';
