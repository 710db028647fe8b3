export * from './address-guard.ts';
export * from './admission.ts';
export * from './aggregated-api.ts';
export * from './back-off.ts';
export * from './clock.ts';
export * from './controller.ts';
export * from './controller-manager.ts';
export * from './correlation.ts';
export * from './event-recorder.ts';
export * from './expectations.ts';
export * from './fetch/index.ts';
export { deepFreeze } from './freeze.ts';
export * from './histogram.ts';
export * from './informer.ts';
export * from './informer-factory.ts';
export * from './logger.ts';
export * from './metric-family.ts';
export * from './node-connector.ts';
export * from './open-route.ts';
export * from './node-tunnel/index.ts';
export * from './object-cache.ts';
export * from './queue-metrics.ts';
export * from './rate-budget.ts';
export * from './access-review.ts';
export * from './policy-rule.ts';
export * from './prometheus-rule.ts';
export * from './reconciler.ts';
export * from './schedule.ts';
export * from './work-queue.ts';
export * from './quota/cluster-quota.ts';
export {
  claimUsage,
  countUsage,
  isInScopes,
  podUsage,
  type QuotaName,
  quotaNameOf,
  quotaStatus,
  serviceUsage,
  sumUsage,
  type Usage,
} from './quota/quota-usage.ts';
