export type { GuestReport, ProcessReport, StatusReport } from './lifecycle/status-report.ts';
