export { feedMetrics } from './metrics-feed.ts';
export { METRICS_DISK_BYTES, metricsDocument } from './metrics-document.ts';
export { readMetrics } from './read-metrics.ts';
