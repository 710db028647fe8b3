export type { GuestReport, ProcessReport, StatusReport } from './lifecycle/status-report.ts';
export { type ImageServer, serveImages } from './demo/image-server.ts';
